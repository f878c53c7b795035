// What the page's trainers say of given weights, batch and noise: losses and gradients, in torch's layout.
async (cases) => {
  const [{ GAN }, { Coder }, t] = await Promise.all([import("/play/gan.js"), import("/play/coder.js"), import("/play/tensor.js")]);
  const matrix = ([rows, cols], values) => t.kept(rows, cols, values);
  const turned = (w, rows, cols) => Float32Array.from({ length: w.length }, (_, i) => w[(i % rows) * cols + Math.floor(i / rows)]);
  const fill = (network, lists) => network.parameters.forEach((p, n) => p.data.set(p.rows > 1 ? turned(lists[n], p.cols, p.rows) : lists[n].length === p.data.length ? lists[n] : null));
  const flat = (network, matrices) => matrices.map((m, n) => { const p = network.parameters[n]; return Array.from(p.rows > 1 ? turned(m.data, p.rows, p.cols) : m.data); });

  function ofGAN({ settings, weights, phases, clipped }) {
    const gan = new GAN(settings);
    const reset = () => { fill(gan.G, weights.generator); fill(gan.D, weights.critic); };
    reset();
    const out = phases.map(({ name, real, normal, uniform }) => {
      t.clear();
      const x = matrix(real.shape, real.values), z = matrix(normal.shape, normal.values), critic = name === "critic";
      const loss = critic ? gan.criticLoss(x, z, uniform ? matrix([uniform.shape[0], 1], uniform.values) : null) : gan.generatorLoss(z, x);
      const network = critic ? gan.D : gan.G;
      return { loss: loss.data[0], gradients: flat(network, t.grad(loss, network.parameters)) };
    });
    gan.clip();
    return { phases: out, clipped: clipped ? flat(gan.D, gan.D.parameters) : null };
  }

  function ofCoder({ settings, weights, phases }) {
    const coder = new Coder({ ...settings, data: settings.signed ? "ring" : "digits" });
    fill(coder.E, weights.encoder);
    fill(coder.D, weights.decoder);
    return { phases: phases.map(({ real, normal, images }) => {
      t.clear();
      const { total } = coder.loss(matrix(real.shape, real.values), normal ? matrix(normal.shape, normal.values) : null, images);
      const gradients = t.grad(total, coder.parameters), e = coder.E.parameters.length;
      return { loss: total.data[0], gradients: [...flat(coder.E, gradients.slice(0, e)), ...flat(coder.D, gradients.slice(e))] };
    }) };
  }

  const all = (plain) => { t.plainProducts(plain); return cases.map((one) => (one.settings.loss ? ofGAN(one) : ofCoder(one))); };
  return { fast: all(false), plain: all(true) };
}
