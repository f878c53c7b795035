// Paths between two codes, as the library's own (latent/paths.py): a straight line, along the sphere, and a rotation.
const STRAIGHT = 1e-6; // sine of the angle below which two codes define no plane

const dot = (a, b) => a.reduce((sum, x, i) => sum + x * b[i], 0);
export const norm = (a) => Math.hypot(...a);
const mixed = (a, b, p, q) => a.map((x, i) => p * x + q * b[i]);

const HOWS = {
  linear: (a, b, t) => mixed(a, b, 1 - t, t),
  slerp: (a, b, t, { angle }) => mixed(a, b, Math.sin((1 - t) * angle) / Math.sin(angle), Math.sin(t * angle) / Math.sin(angle)),
  rotate(a, b, t, { angle, u, v }) {
    const across = mixed(v, u, 1, -dot(v, u)), width = norm(across), length = Math.max(0, (1 - t) * norm(a) + t * norm(b));
    return mixed(u, across, length * Math.cos(t * angle), (length * Math.sin(t * angle)) / width);
  },
};

// `steps` codes from a to b, both included.
export function along(a, b, steps, how) {
  const unit = (x) => { const length = norm(x) || 1; return x.map((one) => one / length); };
  const u = unit(a), v = unit(b);
  const angle = 2 * Math.atan2(norm(mixed(u, v, 1, -1)), norm(mixed(u, v, 1, 1)));
  const flat = Math.sin(angle) < STRAIGHT || !norm(a) || !norm(b);
  return Array.from({ length: steps }, (_, i) => {
    if (i === 0) return [...a];
    if (i === steps - 1) return [...b];
    return HOWS[flat ? "linear" : how](a, b, i / (steps - 1), { angle, u, v });
  });
}

// From each code to the next; where two legs meet, the code comes once.
export function route(ends, steps, how) {
  return ends.slice(1).flatMap((end, i) => along(ends[i], end, steps, how).slice(i ? 1 : 0));
}
