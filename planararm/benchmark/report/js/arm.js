const reachOf = (arm) => arm.link_lengths.reduce((sum, length) => sum + length, 0);

// Joint positions, base first: the cumulative sums of the relative angles.
function jointPositions(arm, q) {
  const positions = [[arm.base[0], arm.base[1]]];
  let angle = 0;
  q.forEach((turn, i) => {
    angle += turn;
    const [x, y] = positions[i];
    positions.push([x + arm.link_lengths[i] * Math.cos(angle), y + arm.link_lengths[i] * Math.sin(angle)]);
  });
  return positions;
}

// Discs [x, y, radius, dx, dy, speed, phase] at a time; the last four only if they shuttle. The share of the way is
// the triangle wave 1 - |1 - (phase + speed t / |d|) mod 2|.
function discsAt(discs, time) {
  return discs.map(([x, y, radius, dx, dy, speed, phase]) => {
    if (dx === undefined) return [x, y, radius];
    const length = Math.hypot(dx, dy);
    const turn = (phase + (length > 0 ? (speed / length) * time : 0)) % 2;
    const share = 1 - Math.abs(1 - turn);
    return [x + share * dx, y + share * dy, radius];
  });
}

function segmentDistance(ax, ay, bx, by, x, y) {
  const dx = bx - ax;
  const dy = by - ay;
  const along = Math.min(1, Math.max(0, ((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy)));
  return Math.hypot(ax + along * dx - x, ay + along * dy - y);
}

// Smallest signed distance of every link, a capsule, to the discs; Infinity without discs.
function linkClearances(arm, positions, discs) {
  return positions.slice(1).map(([bx, by], i) => {
    const [ax, ay] = positions[i];
    let least = Infinity;
    for (const [x, y, radius] of discs) {
      least = Math.min(least, segmentDistance(ax, ay, bx, by, x, y) - radius);
    }
    return least - arm.link_radius;
  });
}

const clearanceOf = (arm, q, discs) => Math.min(...linkClearances(arm, jointPositions(arm, q), discs));
