"""The self-motion of a three-link arm: all configurations that put the end effector on one target.

Frame: the base in the origin, the target at ``(d, 0)``. With ``u3`` the direction of the last link, the wrist
is ``w = (d, 0) - l3 u3`` and the first two links reach it with the elbow on either side. The set is symmetric
about the axis, so only headings in the *upper half* ``[0, pi]`` are computed; a configuration is named by its
heading, a mirror sign (-1: reflected into the lower half) and the elbow's sign before reflection.

There the wrist's distance ``rho`` grows with the heading, and everything else is monotone between a few
headings that are known in closed form. So the range over a piece follows from the values at its ends, also
at the folds (arm stretched or folded at the elbow), where the angles have infinite slope in the heading.
Directions are unit vectors throughout: the hot loops hold square roots, no trigonometry.
"""

from __future__ import annotations

import math

import numpy as np

from .launch import jit

ANGLE_TOLERANCE = 1e-12
"""How far [rad] an angle may lie outside its limits and still count as rounding; it is then clipped."""

RELATIVE_TOLERANCE = 1e-12
"""How far outside the workspace, as a fraction of the lengths, a target still counts as on its boundary."""

RELATIVE_FLATNESS = 2e-15
"""Links straight or folded to within this fraction are exactly so: rounding alone would bend them by its root."""

MAX_BREAKS = 24
COS, SIN, WRIST_X, WRIST_Y, TO_WRIST_X, TO_WRIST_Y, COS_SHOULDER, SIN_SHOULDER = range(8)
POINT_WIDTH = 8


@jit
def wind(angle, near, lower, upper):
    """``angle`` turned within limits as near to ``near`` as possible, and whether it is within them."""
    turn = 2 * math.pi
    fewest = math.ceil((lower - ANGLE_TOLERANCE - angle) / turn)
    most = math.floor((upper + ANGLE_TOLERANCE - angle) / turn)
    if fewest > most:
        return angle, False
    turns = min(max(math.floor((near - angle) / turn + 0.5), fewest), most)
    return min(max(angle + turn * turns, lower), upper), True


@jit
def two_link(x, y, first, second, elbow):
    """First heading and second relative angle of two links that reach ``(x, y)``, and whether they do."""
    distance = math.hypot(x, y)
    slack = RELATIVE_TOLERANCE * (first + second)
    if distance > first + second + slack or distance < abs(first - second) - slack:
        return 0.0, 0.0, False
    if distance < slack:
        return 0.0, elbow * math.pi, True
    if first < slack or second < slack:
        return math.atan2(y, x), 0.0, True
    cosine = (distance + (first - second) * (first + second) / distance) / (2 * first)
    cosine = min(max(cosine, -1.0), 1.0)
    flat = RELATIVE_FLATNESS * (first + second)
    if first + second - distance < flat or distance - abs(first - second) < flat:
        cosine = 1.0 if cosine > 0 else -1.0
    sine = elbow * math.sqrt((1 - cosine) * (1 + cosine))
    ux, uy = (x * cosine + y * sine) / distance, (y * cosine - x * sine) / distance
    rest_x, rest_y = x - first * ux, y - first * uy
    return math.atan2(uy, ux), math.atan2(ux * rest_y - uy * rest_x, ux * rest_x + uy * rest_y), True


@jit
def set_point(points, k, cosine, sine, d, l1, l2, l3):
    """Fill row ``k`` of ``points`` with what the upper-half heading ``(cosine, sine)`` implies."""
    # 1 - cos by the half-angle identity: the wrist may be close to the base, where it must not cancel.
    one_minus = sine * sine / (1 + cosine) if cosine > 0 else 1 - cosine
    wx, wy = (d - l3) + l3 * one_minus, -l3 * sine
    rho = math.sqrt(wx * wx + wy * wy)
    point = points[k]
    point[COS], point[SIN], point[WRIST_X], point[WRIST_Y] = cosine, sine, wx, wy
    if rho > 0:
        point[TO_WRIST_X], point[TO_WRIST_Y] = wx / rho, wy / rho
        shoulder = (rho + (l1 - l2) * (l1 + l2) / rho) / (2 * l1)
    else:
        # The limit of small headings, approached only by d = l3 and l1 = l2.
        point[TO_WRIST_X], point[TO_WRIST_Y] = 0.0, -1.0
        shoulder = 0.0
    shoulder = min(max(shoulder, -1.0), 1.0)
    point[COS_SHOULDER], point[SIN_SHOULDER] = shoulder, math.sqrt((1 - shoulder) * (1 + shoulder))


@jit
def bisect(points, k, a, b, d, l1, l2, l3):
    """Fill row ``k`` with the heading halfway between rows ``a`` and ``b``; False if it is one of them."""
    cosine, sine = points[a, COS] + points[b, COS], points[a, SIN] + points[b, SIN]
    length = math.sqrt(cosine * cosine + sine * sine)
    if length < 1e-3:
        cosine, sine, length = 0.0, 1.0, 1.0
    cosine, sine = cosine / length, sine / length
    set_point(points, k, cosine, sine, d, l1, l2, l3)
    same_as_a = cosine == points[a, COS] and sine == points[a, SIN]
    return not (same_as_a or (cosine == points[b, COS] and sine == points[b, SIN]))


@jit
def elbow_direction(point, elbow):
    """Direction of the first link: the wrist's, turned back by the shoulder angle on the elbow's side."""
    c, s = point[COS_SHOULDER], elbow * point[SIN_SHOULDER]
    x, y = point[TO_WRIST_X], point[TO_WRIST_Y]
    return x * c + y * s, y * c - x * s


@jit
def relative_angles(point, elbow, mirror, l1, bearing):
    """Joint angles of a point of the curve, the first measured in the outer frame."""
    x1, y1 = elbow_direction(point, elbow)
    x2, y2 = point[WRIST_X] - l1 * x1, point[WRIST_Y] - l1 * y1
    x3, y3 = point[COS], point[SIN]
    q2 = math.atan2(x1 * y2 - y1 * x2, x1 * x2 + y1 * y2)
    q3 = math.atan2(x2 * y3 - y2 * x3, x2 * x3 + y2 * y3)
    return bearing + mirror * math.atan2(y1, x1), mirror * q2, mirror * q3


@jit
def copy_angles(source, target):
    """Element by element: a slice assignment takes the compiler a second."""
    for i in range(3):
        target[i] = source[i]


@jit
def within_limits(angles, near, limits, q):
    """Write ``angles``, turned within limits as near to ``near`` as possible, to ``q``; False if outside."""
    for i in range(3):
        q[i], inside = wind(angles[i], near[i], limits[i, 0], limits[i, 1])
        if not inside:
            return False
    return True


@jit
def _opposite_angle(opposite, d, l3):
    """Cosine and sine of the angle between sides ``d`` and ``l3`` of a triangle, clipped to [0, pi]."""
    cosine = ((d - opposite) * (d + opposite) + l3 * l3) / (2 * d * l3)
    if cosine >= 1:
        return 1.0, 0.0
    if cosine <= -1:
        return -1.0, 0.0
    # Heron's product keeps the sine's digits where the triangle is nearly flat.
    area = (d + l3 + opposite) * (d + l3 - opposite) * (d - l3 + opposite) * (l3 - d + opposite)
    sine = math.sqrt(max(area, 0.0)) / (2 * d * l3)
    length = math.sqrt(cosine * cosine + sine * sine)
    return cosine / length, sine / length


@jit
def _pseudo_angle(cosine, sine):
    """A number in [0, 2] that grows with the angle in [0, pi]."""
    return sine / (cosine + sine) if cosine >= 0 else 2.0 - sine / (sine - cosine)


@jit
def heading_range(d, l1, l2, l3):
    """Unit vectors of the smallest and the largest upper-half heading that reach the target."""
    if d * l3 <= 0 or d < RELATIVE_TOLERANCE * l3:
        return 1.0, 0.0, -1.0, 0.0
    least = _opposite_angle(abs(l1 - l2), d, l3)
    most = _opposite_angle(l1 + l2, d, l3)
    return least[0], least[1], most[0], most[1]


@jit
def add_break(breaks, count, cosine, sine):
    """Insert a heading into the sorted ``breaks`` if between first and last; returns the new count."""
    key = _pseudo_angle(cosine, sine)
    if count >= MAX_BREAKS or not breaks[0, 2] < key < breaks[count - 1, 2]:
        return count
    k = count
    while breaks[k - 1, 2] > key:
        copy_angles(breaks[k - 1], breaks[k])
        k -= 1
    breaks[k, 0], breaks[k, 1], breaks[k, 2] = cosine, sine, key
    return count + 1


@jit
def monotone_breaks(breaks, d, l1, l2, l3):
    """Rows of cos, sin, sort key: headings between which wrist bearing and shoulder angle are monotone.

    The bearing turns where the last link is at right angles to it (``cos = l3 / d``), the shoulder angle
    where ``rho^2 = l1^2 - l2^2``. Returns their number, at least 2.
    """
    low_cos, low_sin, high_cos, high_sin = heading_range(d, l1, l2, l3)
    breaks[0, 0], breaks[0, 1], breaks[0, 2] = low_cos, low_sin, _pseudo_angle(low_cos, low_sin)
    breaks[1, 0], breaks[1, 1], breaks[1, 2] = high_cos, high_sin, _pseudo_angle(high_cos, high_sin)
    count = 2
    if l3 < d:
        count = add_break(breaks, count, l3 / d, math.sqrt((d - l3) * (d + l3)) / d)
    if l1 > l2 and d >= RELATIVE_TOLERANCE * l3:
        cosine, sine = _opposite_angle(math.sqrt((l1 - l2) * (l1 + l2)), d, l3)
        count = add_break(breaks, count, cosine, sine)
    return count


@jit
def limit_configurations(found, d, lengths, limits, bearing, every):
    """Rows of joint angles (outer frame) with one joint exactly at a limit; returns their number.

    A joint whose limits leave no direction out matters only for the distance between angles; ``every``
    includes it. Between two neighbours of the others on the curve, limits hold everywhere or nowhere.
    """
    l1, l2, l3 = lengths[0], lengths[1], lengths[2]
    count = 0
    for joint in range(3):
        if lengths[joint] == 0 or (limits[joint, 1] - limits[joint, 0] >= 2 * math.pi and not every):
            continue
        for side in range(2):
            q = limits[joint, side]
            for branch in range(2):
                elbow = 1.0 - 2.0 * branch
                if joint == 0:
                    h1 = q - bearing
                    h2, q3, reached = two_link(d - l1 * math.cos(h1), -l1 * math.sin(h1), l2, l3, elbow)
                    q2 = h2 - h1
                elif joint == 1:
                    x, y = l1 + l2 * math.cos(q), l2 * math.sin(q)
                    heading, bend, reached = two_link(d, 0.0, math.hypot(x, y), l3, elbow)
                    h1 = heading - math.atan2(y, x)
                    q2, q3 = q, heading + bend - h1 - q
                else:
                    x, y = l2 + l3 * math.cos(q), l3 * math.sin(q)
                    h1, bend, reached = two_link(d, 0.0, l1, math.hypot(x, y), elbow)
                    q2, q3 = bend - math.atan2(y, x), q
                if reached:
                    found[count, 0], found[count, 1], found[count, 2] = h1 + bearing, q2, q3
                    count += 1
    return count


@jit
def limit_breaks(breaks, count, found, num_found, bearing):
    """Add the last link's headings of ``limit_configurations`` to the breaks; returns the new count."""
    for k in range(num_found):
        heading = found[k, 0] + found[k, 1] + found[k, 2] - bearing
        count = add_break(breaks, count, math.cos(heading), abs(math.sin(heading)))
    return count


@jit
def segment_point(cx, cy, ax, ay, bx, by):
    """Distance of ``c`` to the segment ``ab``, and the fraction of ``ab`` where its nearest point lies."""
    dx, dy = bx - ax, by - ay
    squared = dx * dx + dy * dy
    fraction = ((cx - ax) * dx + (cy - ay) * dy) / squared if squared > 0 else 0.0
    fraction = min(max(fraction, 0.0), 1.0)
    x, y = ax + fraction * dx - cx, ay + fraction * dy - cy
    return math.sqrt(x * x + y * y), fraction


@jit
def load_discs(discs, centers, radii, base_x, base_y, direction_x, direction_y, link_radius):
    """Present discs in the frame of base and direction, grown by the links' radius; returns their number.

    Absent discs carry a negative radius.
    """
    count = 0
    for j in range(radii.shape[0]):
        if radii[j] >= 0:
            x, y = centers[j, 0] - base_x, centers[j, 1] - base_y
            discs[count, 0] = x * direction_x + y * direction_y
            discs[count, 1] = y * direction_x - x * direction_y
            discs[count, 2] = radii[j] + link_radius
            count += 1
    return count


@jit
def pose_clearance(discs, m, mirror, ex, ey, wx, wy, d):
    """Smallest distance of the links base-elbow-wrist-target to the discs, the target on the axis."""
    smallest = np.inf
    for j in range(m):
        cx, cy, radius = discs[j, 0], mirror * discs[j, 1], discs[j, 2]
        first = segment_point(cx, cy, 0.0, 0.0, ex, ey)[0]
        second = segment_point(cx, cy, ex, ey, wx, wy)[0]
        third = segment_point(cx, cy, wx, wy, d, 0.0)[0]
        smallest = min(smallest, min(first, second, third) - radius)
    return smallest
