// The losses and settings that the page offers. Each case here is held by a test to the library's own phases: the same
// losses and gradients for the same weights, batch and noise. What is not listed cannot be chosen.

// Loss of the page -> the member of the library's zoo that has it, and what to take from that member's own settings.
export const GAN_LOSSES = {
  "non-saturating": { member: "dcgan", settings: {} },
  wasserstein: { member: "wgan", settings: { weight_clip: 0, turns: 1, optimizer: "adam" } },
  hinge: { member: "sngan", settings: { spectral_norm: false, slope: 0.2 } },
  "least-squares": { member: "lsgan", settings: {} },
  relativistic: { member: "r3gan", settings: { r1: 0, r2: 0, penalty_every: 1, penalty_by_size: false } },
};
const REMEDIES = [{}, { gradient_penalty: 0.1 }, { r1: 0.02 }, { r2: 0.03 }, { r1: 0.02, r2: 0.03, packing: 2 }, { packing: 4 }, { gradient_penalty: 2, packing: 2 }, { weight_clip: 0.05 }];

export const GOLDEN_GANS = [
  ...Object.keys(GAN_LOSSES).flatMap((loss) => REMEDIES.map((remedy) => ({ loss, ...remedy }))),
  { loss: "hinge", gradient_penalty: 0.1, layers: 1, latent_dim: 1 },
  { loss: "relativistic", r1: 0.02, r2: 0.03, layers: 3, latent_dim: 8 },
];
export const GOLDEN_CODERS = [
  { model: "ae", likelihood: "squared-error", signed: true },
  { model: "ae", likelihood: "bernoulli" },
  { model: "vae", likelihood: "gaussian", signed: true, sigma: 0.1 },
  { model: "vae", likelihood: "gaussian", signed: true, sigma: 0.3, beta: 4, kl_warmup_images: 500 },
  { model: "vae", likelihood: "bernoulli" },
  { model: "vae", likelihood: "bernoulli", beta: 0.25 },
  { model: "vae", likelihood: "bernoulli", beta: 2, kl_warmup_images: 400 },
  { model: "vae", likelihood: "bernoulli", free_bits: 0.5 },
  { model: "vae", likelihood: "bernoulli", layers: 1, latent_dim: 1 },
  { model: "vae", likelihood: "gaussian", signed: true, sigma: 0.1, layers: 3, latent_dim: 8 },
];

const values = (cases, name) => [...new Set(cases.map((one) => one[name]).filter((value) => value !== undefined))];

// The values of a setting that may be chosen by name.
export const offered = (name) => values([...GOLDEN_GANS, ...GOLDEN_CODERS], name);
// Whether a number may be set at all.
export const held = (name) => offered(name).some((value) => value > 0);
