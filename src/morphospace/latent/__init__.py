"""Walking, directions and inversion of latent spaces: pure functions on tensors and models."""
