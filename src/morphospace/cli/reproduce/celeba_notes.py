"""The figures of "VAEs and GANs on CelebA", and what it claims."""

from __future__ import annotations

from typing import Any

from morphospace.cli.reproduce.plan import Figure, Found, Said, Setup, Source, Step, Table
from morphospace.cli.reproduce.words import fell, more, norms, path_verdict, share


def celeba_notes(s: Setup) -> Source:
    """Return the figures of the notes, drawn from small twins of their four models."""
    return Source(
        s.name,
        "VAEs and GANs on CelebA",
        "A convolutional VAE, the plain autoencoder beside it and a DCGAN learn faces; their latent spaces are "
        "compared by interpolation, principal components and samples.",
        (*_losses(s), *_codes(s), *_space(s), *_adversary(s), *_checkpoints(s)),
        0.2 if s.quick else 4,
    )


def _losses(s: Setup) -> tuple[Figure, ...]:
    """Return what the losses of the VAE say."""
    vae = s.train("celeba-vae-well-laptop")
    averaged, collapsed = s.train("celeba-vae-averaged-laptop"), s.train("celeba-vae-laptop")
    at, faces = s.file, s.n(16, 8)
    return (
        Figure(
            "vae-curves",
            "Loss curves of the VAE",
            (vae,),
            (),
            lambda f: Said(
                f"{fell(f, str(vae), 'vae/loss', 'The loss')} {fell(f, str(vae), 'vae/mse', 'The squared error')} The "
                "KL rises while the error falls: the codes take up information about the images. A gap between "
                "training and held-out images that widens would mean that the model learns them by heart."
            ),
            curves={str(vae): "The terms of the loss, in nats per image, and the squared error per value"},
        ),
        Figure(
            "final-loss",
            "The published loss, with the KL summed or averaged",
            (averaged, collapsed),
            (
                Step(f"diagnose {averaged} --n {s.n(500, 32)}"),
                Step(f"diagnose {collapsed} --n {s.n(500, 32)}"),
                Step(f"sample {averaged} --n {faces} --prior model --out {at('loss-averaged.png')}", "KL averaged"),
                Step(f"sample {collapsed} --n {faces} --prior model --out {at('loss-summed.png')}", "KL summed"),
            ),
            lambda f: _final_loss(f, str(averaged), str(collapsed)),
            claim="The final loss is around 0.17.",
        ),
    )


def _codes(s: Setup) -> tuple[Figure, ...]:
    """Return where codes lie, and what they decode to."""
    vae = s.train("celeba-vae-well-laptop")
    ae = s.train("celeba-ae-laptop")
    at, faces = s.file, s.n(16, 8)
    return (
        Figure(
            "reconstructions",
            "Reconstructions of the autoencoder and of the VAE",
            (ae, vae),
            (
                Step(f"reconstruct {ae} --n 16 --out {at('ae-reconstructions.png')}", "Autoencoder"),
                Step(f"reconstruct {vae} --n 16 --out {at('vae-reconstructions.png')}", "VAE"),
            ),
            lambda f: Said(
                "Each row of originals stands above the row of their reconstructions. The squared error of these "
                f"images is {f.answers[0]['mse']:.4f} for the autoencoder after {f.logs[str(ae)]['images']:,} images "
                f"and {f.answers[1]['mse']:.4f} for the VAE after {f.logs[str(vae)]['images']:,}, pixels in [0, 1]. "
                "Look at eyes, teeth and background: what differs between faces in few pixels is lost first."
            ),
        ),
        Figure(
            "latent-scatter",
            "The codes of both models on their two leading components",
            (ae, vae),
            (
                Step(
                    f"map {ae} {vae} --images {s.n(1000, 64)} --show classes --out {at('scatter.png')}",
                    "Codes of held-out images: the autoencoder left, the VAE right",
                ),
                Step(f"pca {ae} --images {s.n(5000, 64)} --grid 2 --out {at('scatter-ae.png')}"),
                Step(f"pca {vae} --images {s.n(5000, 64)} --grid 2 --out {at('scatter-vae.png')}"),
            ),
            lambda f: Said(
                "Compare the scales of the axes, and the VAE's codes with the dashed circle, two standard deviations "
                "of the prior: what lies outside of it is hardly ever sampled. The two components hold "
                f"{share(f.answers[1]['explained'], 2)} of the variance of the autoencoder's codes and "
                f"{share(f.answers[2]['explained'], 2)} of the VAE's."
            ),
        ),
        Figure(
            "random-codes",
            "Random codes: the autoencoder's give no faces",
            (ae,),
            (
                Step(f"sample {ae} --n {faces} --prior normal --out {at('ae-normal.png')}", "Codes from N(0, I)"),
                Step(
                    f"sample {ae} --n {faces} --prior mixture --out {at('ae-mixture.png')}",
                    "Codes from a mixture of Gaussians fitted to the codes of training images",
                ),
                _judge(s, str(ae), "fd", " --prior normal"),
                _judge(s, str(ae), "fd", " --prior mixture"),
            ),
            lambda f: Said(
                "The autoencoder has never decoded a code from N(0, I). A prior fitted to its codes afterwards "
                f"repairs that: the Frechet distance falls from {f.value(2, 'FD'):.3g} to {f.value(3, 'FD'):.3g}.",
                holds=f.value(2, "FD") > f.value(3, "FD"),
            ),
            claim="The random codes of a plain autoencoder are useless.",
        ),
        Figure(
            "vae-samples",
            "Samples of the VAE",
            (vae,),
            (
                Step(
                    f"sample {vae} --n {s.n(32, 8)} --prior model --out {at('vae-samples.png')}", "Codes from N(0, I)"
                ),
                Step(
                    f"sample {vae} --n {s.n(32, 8)} --prior mixture --out {at('vae-mixture.png')}",
                    "Codes from a mixture fitted to the codes of training images",
                ),
                _judge(s, str(vae), "fd", " --prior model"),
                _judge(s, str(vae), "fd", " --prior mixture"),
            ),
            lambda f: Said(
                "Look whether samples vary in pose, hair and light, or smear. The codes of images do not fill N(0, I) "
                "evenly, so codes from its empty regions decode to smears. With a fitted mixture the Frechet distance "
                f"is {f.value(3, 'FD'):.3g}, with N(0, I) {f.value(2, 'FD'):.3g}."
            ),
        ),
        Figure(
            "novel-faces",
            "Samples beside their nearest training images",
            (vae,),
            (Step(f"evaluate {vae} --metrics novelty --n {s.n(500, 32)}"),),
            _novel,
            claim="The samples of the VAE are novel faces.",
        ),
    )


def _space(s: Setup) -> tuple[Figure, ...]:
    """Return walks in the VAE's space, and its components."""
    vae = s.train("celeba-vae-well-laptop")
    averaged = s.train("celeba-vae-averaged-laptop")
    at = s.file
    return (
        Figure(
            "interpolation",
            "Interpolation by a straight line, by a great circle and by rotation",
            (vae,),
            (
                Step(
                    f"interpolate {vae} --from 3 --to 8 --how all --steps 9 --out {at('interpolation.png')}",
                    "From above: linear, slerp, rotation",
                ),
                Step(
                    f"morph {vae} --pairs 1x4 --how slerp --fps {s.n(20, 4)} --seconds {s.n(2, 1)} --there-and-back "
                    f"--out {at('interpolation.gif')}",
                    "Four pairs of held-out images, by great circle",
                ),
            ),
            lambda f: Said(
                "The paths differ little where both codes have about the same norm. The straight line passes nearer "
                f"to the origin: its shortest code has a norm of {norms(f, 0, 'linear')} times the square root of the "
                f"number of dimensions, slerp's {norms(f, 0, 'slerp')}, that of the rotation {norms(f, 0, 'rotate')}. "
                "Codes of small norm decode to more average faces."
            ),
        ),
        Figure(
            "slerp-or-linear",
            "Which path stays closer to the data?",
            (vae,),
            (
                Step(
                    f"interpolate {vae} --study --pairs {s.n(128, 8)} --seeds {s.n(3, 2)}{s.features}",
                ),
            ),
            lambda f: path_verdict(f.answers[0]),
            claim="Spherical interpolation beats linear interpolation.",
        ),
        Figure(
            "components",
            "How many dimensions the codes use",
            (vae, averaged),
            (
                Step(
                    f"pca {vae} --images {s.n(5000, 64)} --dims-for 0.9 --out {at('components.png')}",
                    also={at("components.variance.png"): "Variance that each component explains"},
                ),
                Step(f"evaluate {averaged} --metrics mse --n {s.n(500, 32)}"),
                Step(f"evaluate {vae} --metrics mse --n {s.n(500, 32)}"),
                Step(f"diagnose {averaged} --n {s.n(500, 32)}"),
            ),
            _dimensions,
            claim="20 to 30 dimensions might do.",
        ),
        Figure(
            "component-plane",
            "The plane of the two leading components",
            (vae,),
            (
                Step(
                    f"pca {vae} --images {s.n(5000, 64)} --grid {s.n(10, 4)} --range 3 --as-published --out "
                    f"{at('plane-published.png')}",
                    "As published: around 0, the mean code left out",
                ),
                Step(
                    f"pca {vae} --images {s.n(5000, 64)} --grid {s.n(10, 4)} --range 3 --out {at('plane.png')}",
                    "Around the mean code, in standard deviations of each component",
                ),
            ),
            lambda f: Said(
                "A grid over [-3, 3] along both components. The published script leaves the mean code out and takes "
                "raw units; the second plane is what a principal component means. Together the two explain "
                f"{share(f.answers[1]['explained'], 2)} of the variance: look whether they are more than light and "
                "background."
            ),
        ),
    )


def _adversary(s: Setup) -> tuple[Figure, ...]:
    """Return the GAN, beside the VAE."""
    vae = s.train("celeba-vae-well-laptop")
    gan = s.train("celeba-dcgan-laptop")
    at = s.file
    return (
        Figure(
            "gan-curves",
            "Loss curves of the GAN",
            (gan,),
            (),
            lambda f: Said(
                "At the end the critic gives real photographs a probability of "
                f"{f.logs[str(gan)]['critic/score_real']:.2f} and generated ones "
                f"{f.logs[str(gan)]['critic/score_fake']:.2f}; at .5 it could not tell them apart. Neither loss says "
                "how good the images are: both can stay level while these improve."
            ),
            curves={str(gan): "Both players, and what the critic thinks of real and generated images"},
        ),
        Figure(
            "gan-samples",
            "Samples of the GAN",
            (gan,),
            (
                Step(f"sample {gan} --n {s.n(64, 8)} --out {at('gan-samples.png')}", "Codes from N(0, I)"),
                _judge(s, str(gan), "fd,pr"),
            ),
            lambda f: Said(
                "Hair, teeth and edges that no VAE of this size draws, and some faces that are broken. Frechet "
                f"distance {f.text(1, 'FD')}, precision {f.value(1, 'precision'):.2f} (samples that look like "
                f"photographs), recall {f.value(1, 'recall'):.2f} (photographs that some sample looks like)."
            ),
        ),
        Figure(
            "sharper",
            "Sharpness of both models' samples",
            (vae, gan),
            (
                Step(f"sample {vae} --n 8 --seed 1 --out {at('sharper-vae.png')}", "VAE"),
                Step(f"sample {gan} --n 8 --seed 1 --out {at('sharper-gan.png')}", "GAN"),
                Step(f"evaluate {vae} --metrics sharpness --n {s.n(500, 32)}"),
                Step(f"evaluate {gan} --metrics sharpness --n {s.n(500, 32)}"),
            ),
            lambda f: Said(
                "Sharpness is the variance of the Laplacian, divided by that of real photographs: "
                f"{f.text(2, 'sharpness')} for the VAE, {f.text(3, 'sharpness')} for the GAN, 1 for photographs. A "
                "value above 1 is grain or a pattern, not detail.",
                holds=f.result(3, "sharpness")["low"] > f.result(2, "sharpness")["high"],
            ),
            claim="GAN samples are sharper than VAE samples.",
        ),
        Figure(
            "gan-slerp",
            "Interpolation in the GAN's space",
            (gan,),
            (
                Step(
                    f"interpolate {gan} --from seed:1 --to seed:2 --how slerp --steps 9 --out {at('gan-slerp.png')}",
                    "From one random code to another, by great circle",
                ),
                Step(
                    f"morph {gan} --pairs 1x4 --how slerp --fps {s.n(20, 4)} --seconds {s.n(2, 1)} --there-and-back "
                    f"--out {at('gan-slerp.gif')}",
                    "Four pairs of random codes",
                ),
            ),
            lambda f: Said(
                "Look whether each image between the ends is a face of its own, or a cross-fade. The mean change of a "
                f"pixel from step to step is {100 * f.answers[0]['paths'][0]['speed']:.1f} %, with a spread of "
                f"{100 * f.answers[0]['paths'][0]['speed_spread']:.1f} %: an even walk has little."
            ),
        ),
        Figure(
            "gan-continuity",
            "Is the GAN's latent space continuous?",
            (gan, vae),
            (
                Step(f"evaluate {gan} --metrics smoothness --n {s.n(500, 32)}"),
                Step(f"evaluate {vae} --metrics smoothness --prior model --n {s.n(500, 32)}"),
            ),
            _continuous,
            claim="A GAN's latent space is continuous. (Another source says that it is not.)",
        ),
    )


def _checkpoints(s: Setup) -> tuple[Figure, ...]:
    """Return what a checkpoint is worth on other images."""
    vae = s.train("celeba-vae-well-laptop")
    tuned = s.train("celeba-vae-well-laptop", "celeba-vae-tuned", start_from=vae, **_tuning(s))
    untuned = s.train("celeba-vae-well-laptop", "celeba-vae-untuned", **_tuning(s))
    at = s.file
    return (
        Figure(
            "fine-tuning",
            "Fine-tuning a checkpoint on other images",
            (vae, tuned, untuned),
            (
                Step(f"reconstruct {tuned} --n 8 --out {at('tuned.png')}", "From the VAE's checkpoint"),
                Step(f"reconstruct {untuned} --n 8 --out {at('untuned.png')}", "From new weights, as many images"),
            ),
            lambda f: Said(
                "Both saw the same few thousand drawn faces on white. The squared error of held-out ones is "
                f"{f.answers[0]['mse']:.4f} from the checkpoint and {f.answers[1]['mse']:.4f} from new weights.",
                holds=f.answers[0]["mse"] < f.answers[1]["mse"],
            ),
            claim="The checkpoints are ready for fine-tuning.",
        ),
    )


def _tuning(s: Setup) -> dict[str, Any]:
    """Return the settings of a short training on drawn faces on white, which no other run here has seen."""
    if s.quick:
        return {"background": "white"}
    return {"data": "toyfaces", "background": "white", "images": 4000}


def _judge(s: Setup, run: str, metrics: str, more: str = "") -> Step:
    return Step(f"evaluate {run} --metrics {metrics} --n {s.n(1000, 32)}{more}{s.features}")


def _final_loss(f: Found, averaged: str, collapsed: str) -> Said:
    own, summed = f.logs[averaged]["vae/loss"], f.logs[collapsed]["vae/loss"]
    units = [answer["measured"]["active_units"] for answer in f.answers[:2]]
    return Said(
        "As printed, the loss adds half the KL summed over 100 dimensions to a squared error averaged over all "
        f"values of an image: beta 3,072 in nats at the published 64x64. Here that run ends at {summed:.3f} with "
        f"{units[1]} active units of 100, and every sample is the mean face. With the KL averaged over the dimensions "
        f"as well, the run ends at {own:.3f} with {units[0]} active units. The published .17 fits the second reading "
        "only: linear theory predicts .15 to .16 for it, and the mean variance of a pixel, .27 to .30, for the first.",
        holds=abs(own - 0.17) < 0.03 < abs(summed - 0.17),
        table=Table(
            ("loss", "at the end", "squared error", "KL, nats", "active units"),
            [
                [name, f"{log['vae/loss']:.3f}", f"{log['vae/mse']:.3f}", f"{log['vae/kl']:.3g}", str(count)]
                for name, log, count in zip(
                    ("KL averaged", "KL summed, as printed"), (f.logs[averaged], f.logs[collapsed]), units
                )
            ],
        ),
    )


def _novel(f: Found) -> Said:
    new, copies = f.result(0, "novelty"), f.result(0, "copies")
    unseen = copies["conditions"]["of_unseen"]
    return Said(
        "A sample is a copy if one training image is three times nearer to it than the next four. "
        f"{copies['value']:.1%} of the samples are ({copies['low']:.1%} to {copies['high']:.1%}), and {unseen:.1%} of "
        "photographs that training did not see. The distance of samples to the nearest training image is "
        f"{new['value']:.2f} times that of unseen photographs ({new['low']:.2f} to {new['high']:.2f}); blurred images "
        "are nearer to everything, so that below 1 alone is no sign of copying.",
        holds=copies["low"] <= unseen + 0.01,
    )


def _dimensions(f: Found) -> Said:
    found, units = f.answers[0], f.answers[3]["measured"]["active_units"]
    dims = found["dims"]
    count = f"{dims} of {found['latent_dim']} components" if dims else "not even all components kept"
    shares = found["explained"]
    few = f"{sum(shares[:20]):.0%} in 20 and {sum(shares[:30]):.0%} in 30"
    return Said(
        f"The VAE done well holds 90 % of the variance of its codes in {count}, {few}, and uses "
        f"{found['active_units']} units (variance of the mean above .01). The one with the published loss, KL "
        f"averaged, uses {units} units with {f.answers[3]['measured']['kl_nats']:.3g} nats in all, and reconstructs "
        f"held-out images with a squared error of {f.value(1, 'MSE'):.4f} instead of {f.value(2, 'MSE'):.4f}. How "
        "many dimensions do depends on what the loss pays for detail.",
        holds=None if not dims else dims <= 30,
    )


def _continuous(f: Found) -> Said:
    jump, other = f.value(0, "jump"), f.value(1, "jump")
    return Said(
        f"On arcs of 16 steps between random codes, the largest step changes the image {jump:.2f} times as much as "
        f"the mean step ({other:.2f} times for the VAE). A space that leaps from one kind of image to another would "
        f"have 16. On the way, the images change {f.value(0, 'detour'):.2f} times as much as from end to end "
        f"({f.value(1, 'detour'):.2f}), and the path length is "
        f"{more(f.value(0, 'path length'), f.value(1, 'path length'))} the VAE's.",
        holds=jump < 4,
    )
