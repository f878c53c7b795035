// The simulations, in the order of the page.
import { coder } from "./coder.js";
import { elbo } from "./elbo.js";
import { frechet } from "./frechet.js";
import { gan } from "./gan.js";
import { lambda } from "./lambda.js";
import { paths } from "./paths.js";
import { reparameterization } from "./reparameterization.js";
import { tape } from "./tape.js";
import { transposed } from "./transposed.js";

export const SIMULATIONS = [gan, coder, reparameterization, elbo, transposed, paths, frechet, lambda, tape];
