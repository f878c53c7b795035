"""The figures of "VAE, learning to generate with latent spaces"."""

from __future__ import annotations

from morphospace.cli.reproduce.plan import Figure, Found, Said, Setup, Source, Step, Table

BETAS = ("0.5", "1", "4")
SEEN = 100_000  # the note does not say how many


def note(s: Setup) -> Source:
    """Return the figures of the note, drawn from the recipes themselves, which take a minute each."""
    betas = s.train("vae-mlp", grid=f"beta={','.join(BETAS)}", images=SEEN)
    vae = betas.member("beta=1")
    ae, cvae = (s.train(recipe, images=SEEN) for recipe in ("ae-mlp", "cvae"))
    at, some = s.file, s.n(32, 8)
    figures = (
        Figure(
            "reconstructions",
            "Reconstructions",
            (betas, ae),
            (
                Step(f"reconstruct {vae} --n 16 --out {at('vae-reconstructions.png')}", "VAE"),
                Step(f"reconstruct {ae} --n 16 --out {at('ae-reconstructions.png')}", "Plain autoencoder"),
            ),
            lambda f: Said(
                f"The squared error of these images is {f.answers[0]['mse']:.4f} for the VAE and "
                f"{f.answers[1]['mse']:.4f} for the autoencoder, which pays nothing for its codes. Thin strokes and "
                "rare forms of a digit suffer first."
            ),
        ),
        Figure(
            "generation",
            "Generation: decode codes from the prior",
            (betas,),
            (Step(f"sample {vae} --n {s.n(64, 8)} --prior model --out {at('samples.png')}", "Codes from N(0, I)"),),
            lambda f: Said(
                "Most samples are digits; some lie between two of them, because the space between their codes is the "
                "prior's too."
            ),
        ),
        Figure(
            "random-codes",
            "Random codes of the plain autoencoder",
            (ae, betas),
            (
                Step(
                    f"sample {ae} --n {some} --prior normal --out {at('ae-normal.png')}",
                    "Autoencoder, codes from N(0, I)",
                ),
                Step(f"evaluate {ae} --metrics fd --prior normal --n {s.n(1000, 32)}{s.features}"),
                Step(f"evaluate {vae} --metrics fd --prior model --n {s.n(1000, 32)}{s.features}"),
            ),
            lambda f: Said(
                f"Frechet distance to real digits: {f.value(1, 'FD'):.3g} for random codes of the autoencoder, "
                f"{f.value(2, 'FD'):.3g} for those of the VAE. The autoencoder's loss says nothing of where "
                "codes should lie.",
                holds=f.value(1, "FD") > f.value(2, "FD"),
            ),
            claim="Random codes of a plain autoencoder give garbage.",
        ),
        Figure(
            "interpolation",
            "Interpolation at 0, .25, .5, .75 and 1",
            (betas,),
            (
                Step(
                    f"interpolate {vae} --from 0 --to 1 --how linear --steps 5 --out {at('interpolation.png')}",
                    "A straight line",
                ),
                Step(
                    f"interpolate {vae} --from 2 --to 3 --how linear --steps 5 --out {at('interpolation-2.png')}",
                    "Another pair",
                ),
                Step(
                    f"morph {vae} --pairs 2x4 --how linear --fps {s.n(15, 4)} --seconds {s.n(2, 1)} --there-and-back "
                    f"--out {at('interpolation.gif')}",
                    "Eight pairs at once",
                ),
            ),
            lambda f: Said(
                "The first and the last image are reconstructions; those between belong to no image. The mean change "
                f"of a pixel is {100 * f.answers[0]['paths'][0]['speed']:.0f} % a step. Where both digits are alike, "
                "strokes bend; where they differ much, the middle is grey, for no code between them was ever decoded."
            ),
        ),
        Figure(
            "attributes",
            "Attribute manipulation: move one latent dimension",
            (betas,),
            (
                Step(
                    f"traverse {vae} --rows {s.n(8, 3)} --range 3 --steps 9 --image 0 --out {at('traversal.png')}",
                    "A row for each dimension, those that change the image most first",
                ),
            ),
            _traversal,
        ),
        Figure(
            "beta",
            "Beta below, at and above 1",
            (betas,),
            (
                *(
                    Step(
                        f"sample {betas.member(f'beta={b}')} --n 16 --prior model --out {at(f'beta-{b}-samples.png')}",
                        f"beta {b}: samples",
                    )
                    for b in BETAS
                ),
                *(
                    Step(
                        f"reconstruct {betas.member(f'beta={b}')} --n 8 --out {at(f'beta-{b}-rebuilt.png')}",
                        f"beta {b}: reconstructions",
                    )
                    for b in BETAS
                ),
                *(Step(f"diagnose {betas.member(f'beta={b}')} --n {s.n(500, 32)}") for b in BETAS),
            ),
            lambda f: _betas(f, [betas.member(f"beta={b}") for b in BETAS]),
            claim="Beta below 1 sharpens reconstructions, above 1 it orders the codes.",
        ),
        Figure(
            "conditional",
            "A conditional VAE: sample z, ask for a class",
            (cvae, betas),
            (
                Step(
                    f"sample {cvae} --n {s.n(80, 20)} --out {at('classes.png')}",
                    "A class a row, the same codes in each",
                ),
                Step(f"sample {cvae} --n 16 --label 3 --out {at('threes.png')}", "Sixteen times the class 3"),
            ),
            lambda f: Said(
                "In each column the code is the same and the class changes: slant, width and thickness stay, because "
                f"the label already says which digit it is. The KL is {f.logs[str(cvae)]['cvae/kl']:.1f} nats an "
                f"image, that of the VAE without labels {f.logs[vae]['vae/kl']:.1f}."
            ),
        ),
        Figure(
            "latent-space",
            "The latent space",
            (betas,),
            (
                Step(
                    f"map {vae} --images {s.n(1000, 64)} --show classes --out {at('map.png')}",
                    "Codes of held-out digits, over the decoded plane",
                ),
                Step(
                    f"pca {vae} --images {s.n(5000, 200)} --grid {s.n(10, 4)} --out {at('plane.png')}",
                    "The plane of the two leading components",
                ),
            ),
            lambda f: Said(
                "Digits of one class lie together, and neighbours look alike. The two components hold "
                f"{sum(f.answers[1]['explained'][:2]):.0%} of the variance of the codes, so classes that overlap here "
                f"may be apart in the other dimensions. To move about in it yourself: morpho studio {vae}"
            ),
        ),
    )
    return Source(
        s.name,
        "VAE, learning to generate with latent spaces",
        "A fully connected VAE of digits, the plain autoencoder beside it and a conditional VAE: generation, "
        "interpolation, attributes, and what beta does.",
        figures,
        0.2 if s.quick else 1.5,
    )


def _traversal(f: Found) -> Said:
    changes = f.answers[0]["changes"]
    living = sum(change > max(changes) / 100 for change in changes)
    return Said(
        f"Each dimension goes from -3 to 3 standard deviations of the prior. {living} of {len(changes)} dimensions "
        "change the image by more than a hundredth of what the first one does; the others are unused. A dimension "
        "moves several things at once: nothing asks it to stand for one attribute."
    )


def _betas(f: Found, runs: list[str]) -> Said:
    errors = [answer["mse"] for answer in f.answers[3:6]]
    units = [answer["measured"]["active_units"] for answer in f.answers[6:9]]
    kls = [answer["measured"]["kl_nats"] for answer in f.answers[6:9]]
    rows = [
        [beta, f"{error:.4f}", f"{kl:.3g}", str(count)]
        for beta, error, kl, count in zip(BETAS, errors, kls, units, strict=True)
    ]
    return Said(
        f"The squared error grows from {errors[0]:.4f} to {errors[2]:.4f}, and the active units fall from {units[0]} "
        f"to {units[2]}: fewer dimensions carry what is left. The squared error has no half, so beta 1 here is .5 in "
        "nats.",
        holds=errors[0] < errors[1] < errors[2] and units[2] <= units[0],
        table=Table(("beta", "squared error", "KL, nats", "active units"), rows),
    )
