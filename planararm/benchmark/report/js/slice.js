// The configuration-space slice over joints a and b through q: clearance on a grid, row by row from the lower limit
// of b. Positions before the first of the two joints do not change and are computed once.
function sliceOf(arm, q, discs, a, b, size) {
  const count = q.length;
  const from = Math.min(a, b);
  const values = new Float64Array(size * size).fill(Infinity);
  if (!discs.length) return values;
  const place = (joint, i) => {
    const [low, high] = arm.joint_limits[joint];
    return low + ((high - low) * (i + 0.5)) / size;
  };
  const fixed = jointPositions(arm, q);
  const before = Math.min(Infinity, ...linkClearances(arm, fixed.slice(0, from + 1), discs));
  const angles = Array.from(q);
  const base = q.slice(0, from).reduce((sum, turn) => sum + turn, 0);
  for (let row = 0; row < size; row++) {
    angles[b] = place(b, row);
    for (let column = 0; column < size; column++) {
      angles[a] = place(a, column);
      let angle = base;
      let [x, y] = fixed[from];
      let least = Infinity;
      for (let i = from; i < count; i++) {
        angle += angles[i];
        const dx = arm.link_lengths[i] * Math.cos(angle);
        const dy = arm.link_lengths[i] * Math.sin(angle);
        const square = dx * dx + dy * dy;
        for (const [cx, cy, radius] of discs) {
          const along = ((cx - x) * dx + (cy - y) * dy) / square;
          const kept = along < 0 ? 0 : along > 1 ? 1 : along;
          const gx = x + kept * dx - cx;
          const gy = y + kept * dy - cy;
          const gap = Math.sqrt(gx * gx + gy * gy) - radius;
          if (gap < least) least = gap;
        }
        x += dx;
        y += dy;
      }
      values[row * size + column] = Math.min(before, least - arm.link_radius);
    }
  }
  return values;
}

// Marching squares: line segments [x0, y0, x1, y1] in grid units along which the values cross the level.
function contour(values, size, level) {
  const segments = [];
  const cross = (i, j) => (level - values[i]) / (values[j] - values[i]);
  for (let row = 0; row + 1 < size; row++) {
    for (let column = 0; column + 1 < size; column++) {
      const p = row * size + column;
      const corners = [p, p + 1, p + size + 1, p + size];
      const above = corners.map((i) => values[i] >= level);
      if (above.every(Boolean) || !above.some(Boolean)) continue;
      const points = [];
      if (above[0] !== above[1]) points.push([column + cross(p, p + 1), row]);
      if (above[1] !== above[2]) points.push([column + 1, row + cross(p + 1, p + size + 1)]);
      if (above[2] !== above[3]) points.push([column + cross(p + size, p + size + 1), row + 1]);
      if (above[3] !== above[0]) points.push([column, row + cross(p, p + size)]);
      for (let i = 0; i + 1 < points.length; i += 2) segments.push([...points[i], ...points[i + 1]]);
    }
  }
  return segments;
}
