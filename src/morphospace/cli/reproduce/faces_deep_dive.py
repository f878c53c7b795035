"""The figures of "The Variational Autoencoder: a deep dive", and its wish list."""

from __future__ import annotations

from morphospace.cli.reproduce.plan import Figure, Found, Said, Setup, Source, Step, Table
from morphospace.cli.reproduce.words import fell
from morphospace.data.sources import SOURCES as IMAGES


def faces_deep_dive(s: Setup) -> Source:
    """Return the figures of the deep dive, drawn from a small twin of its VAE, and what it wished for."""
    return Source(
        s.name,
        "The Variational Autoencoder: a deep dive",
        "A convolutional VAE of faces: reconstructions, a wall of generated faces and morphs; then what its author "
        "wished for: masks, other likelihoods, anomalies.",
        (*_images(s), *_model(s), *_films(s), *_wishes(s)),
        0.2 if s.quick else 2,
    )


def _images(s: Setup) -> tuple[Figure, ...]:
    """Return the images as they are prepared."""
    at = s.file
    data, size = s.data_of("celebamask-vae")
    kind = data.partition(":")[0]
    has_masks = "background" in IMAGES[kind].takes if kind in IMAGES else False
    few = 4 if kind == "celebamask-hq" else 16
    shown = f"data show {data} --size {size or 64} --n {few} --captions none"
    keep = " --background keep" if has_masks else ""
    steps = [Step(f"{shown}{keep} --out {at('as-they-are.png')}", "As they are")]
    if has_masks:
        painted = "The union of all parts kept, all else black"
        steps.append(Step(f"{shown} --background black --out {at('prepared.png')}", painted))
    return (
        Figure(
            "prepared-images",
            "Prepared images: everything outside the masks is painted black",
            (),
            tuple(steps),
            lambda f: Said(
                "Where a background is painted over, the model spends nothing on it. The recipe celebamask-vae trains "
                f"on such images; the runs below keep the background. The pictures show {f.answers[0]['n']} images of "
                f"{f.answers[0]['data'].partition(':')[0]}."
            ),
        ),
    )


def _model(s: Setup) -> tuple[Figure, ...]:
    """Return what the model makes of faces."""
    vae = s.train("celebamask-vae-celeba-laptop")
    at = s.file
    return (
        Figure(
            "curves",
            "Loss curves",
            (vae,),
            (),
            lambda f: Said(
                f"{fell(f, str(vae), 'vae/loss', 'The loss')} {fell(f, str(vae), 'vae/kl', 'The KL')} Cross-entropy on "
                "grey values is no density: it cannot fall to 0, and its value compares with no likelihood."
            ),
            curves={str(vae): "Cross-entropy, KL and squared error; dots are held-out images"},
        ),
        Figure(
            "reconstructions",
            "Reconstructions",
            (vae,),
            (
                Step(
                    f"reconstruct {vae} --n {s.n(32, 8)} --out {at('reconstructions.png')}",
                    "Originals over reconstructions",
                ),
            ),
            lambda f: Said(
                "Rows alternate: held-out originals, then what the model makes of them. The squared error is "
                f"{f.answers[0]['mse']:.4f}, pixels in [0, 1]. Each is decoded from the mean of its code, so that the "
                "picture shows the model and not its noise."
            ),
        ),
        Figure(
            "generated",
            "256 generated faces",
            (vae,),
            (Step(f"sample {vae} --n {s.n(256, 16)} --prior model --out {at('generated.png')}", "Codes from N(0, I)"),),
            lambda f: Said(
                f"{f.answers[0]['n']} samples. Look for kinds of faces that come up too often, and for smears: their "
                "codes lie where those of no image do."
            ),
        ),
    )


def _films(s: Setup) -> tuple[Figure, ...]:
    """Return faces that turn into others."""
    vae = s.train("celebamask-vae-celeba-laptop")
    at = s.file
    return (
        Figure(
            "morph",
            "A morph of two faces: 150 frames at 30 a second",
            (vae,),
            (
                Step(
                    f"morph {vae} --pairs 1x1 --scale 6 --enlarge smooth --how linear --fps {s.n(30, 6)} --seconds "
                    f"{s.n(5, 1)} --out {at('morph.gif')}",
                    "A straight line between the means of two held-out faces",
                ),
            ),
            lambda f: Said(
                f"{f.answers[0]['frames']} frames in {f.answers[0]['seconds']:.2f} seconds, both ends included. A GIF "
                "holds delays of whole hundredths of a second; here they differ by one so that the film has the "
                "length that was asked for."
            ),
        ),
        Figure(
            "morphs",
            "A grid of synchronised morphs",
            (vae,),
            (
                Step(
                    f"morph {vae} --pairs {'1x2' if s.quick else '3x4'} --how linear --fps {s.n(15, 4)} --seconds "
                    f"{s.n(3, 1)} --there-and-back --seed 1 --out {at('morphs.gif')}",
                    "Pairs of held-out faces, there and back",
                ),
            ),
            lambda f: Said(
                f"{len(f.answers[0]['ends'])} pairs that move together. Look what moves, as a mouth or a head, and "
                "what fades from one image into the other."
            ),
        ),
    )


def _wishes(s: Setup) -> tuple[Figure, ...]:
    """Return what the author wished for."""
    vae = s.train("celebamask-vae-celeba-laptop")
    gaussian = s.train("celeba-vae-well-laptop")
    masks = s.train("toyfaces-mask-vae", images=15_000, own=True)
    at = s.file
    return (
        Figure(
            "likelihoods",
            "Another likelihood: a Gaussian of calibrated variance",
            (vae, gaussian),
            (
                Step(f"reconstruct {vae} --n 8 --out {at('bernoulli.png')}", "Bernoulli, as published"),
                Step(f"reconstruct {gaussian} --n 8 --out {at('gaussian.png')}", "Gaussian, variance calibrated"),
                Step(f"evaluate {vae} --metrics mse,ssim --n {s.n(500, 32)}"),
                Step(f"evaluate {gaussian} --metrics mse,ssim --n {s.n(500, 32)}"),
            ),
            lambda f: Said(
                "The Gaussian's variance follows the mean squared error, so that beta needs no tuning. It uses "
                f"{f.logs[str(gaussian)]['vae/kl']:.0f} nats of KL an image, the Bernoulli "
                f"{f.logs[str(vae)]['vae/kl']:.0f}.",
                table=Table(
                    ("likelihood", "squared error, held out", "structural similarity", "KL, nats"),
                    [
                        [name, f.text(step, "MSE"), f.text(step, "SSIM"), f"{f.logs[str(run)]['vae/kl']:.1f}"]
                        for name, step, run in (("Bernoulli", 2, vae), ("Gaussian", 3, gaussian))
                    ],
                ),
            ),
        ),
        Figure(
            "image-and-mask",
            "Two decoders: one for the image, one for its mask",
            (masks,),
            (
                Step(
                    f"reconstruct {masks} --n 8 --out {at('mask-reconstructions.png')}",
                    "Originals with their masks over reconstructions",
                ),
                Step(
                    f"sample {masks} --n {s.n(24, 8)} --prior mixture --out {at('mask-samples.png')}",
                    "Samples, each beside the mask that belongs to it",
                ),
            ),
            lambda f: Said(
                "The source wished for it; the model mask-vae is it. The image's loss counts only within the true "
                f"mask, so no background is learned. Within the masks the squared error is {f.answers[0]['mse']:.4f}. "
                "Drawn faces, for their masks are exact."
            ),
        ),
        Figure(
            "anomalies",
            "Density and anomalies: which images the model finds strange",
            (vae,),
            (
                Step(
                    f"score {vae} {vae.data} --by elbo --draws 2 --n {s.n(300, 32)} --out {at('scores.csv')} "
                    f"--gallery {at('strange.png')}",
                    also={at("strange.png"): "The strangest held-out images, over the most usual ones"},
                ),
                Step(
                    f"score {vae} digits --by elbo --draws 2 --against-own --n {s.n(300, 32)} --out "
                    f"{at('scores-digits.csv')}"
                ),
                Step(
                    f"score {vae} digits --by elbo --draws 2 --against-own --correct complexity --n {s.n(300, 32)} "
                    f"--out {at('scores-corrected.csv')}"
                ),
            ),
            _anomalies,
        ),
    )


def _anomalies(f: Found) -> Said:
    plain, corrected = (f.answers[step].get("auroc") for step in (1, 2))

    def word(found: object) -> str:
        value = found["value"] if isinstance(found, dict) else found
        return f"{value:.2f}" if isinstance(value, float | int) else "not measured"

    return Said(
        "Each image is scored by minus its evidence lower bound. This separates digits, in colour and at the same "
        f"size, from faces with an area under the ROC curve of {word(plain)} (.5 is chance, 1 is perfect, below .5 "
        "means that the model finds them more usual than faces). Taking off the length of each image as a PNG gives "
        f"{word(corrected)}: a likelihood alone prefers simple images."
    )
