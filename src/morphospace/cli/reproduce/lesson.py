"""The figures of the lesson "Generative models: VAEs and GANs", its claims and its exercise."""

from __future__ import annotations

from typing import Any

from morphospace.cli.reproduce.plan import Figure, Found, Said, Setup, Source, Step, Table, Training
from morphospace.cli.reproduce.words import fell

LAMBDAS = ("0", "0.1", "1")
SEEN, SHORT = 100_000, 10_000  # images that the VAE sees, and each of the remedies
REMEDIES: dict[str, tuple[str, dict[str, Any]]] = {
    "replay": ("experience replay", {"replay": 0.5}),
    "unrolled": ("two unrolled steps", {"unrolled": 2}),
    "features": ("feature matching", {"feature_matching": 1.0}),
    "minibatch": ("minibatch discrimination", {"minibatch_discrimination": 32}),
}
CONSTRAINTS = {
    "wgan-unconstrained": "none, as the lesson states it",
    "wgan": "clipped weights",
    "wgan-gp": "gradient penalty",
    "sn-discriminator": "spectral norm, hinge loss",
}


def lesson(s: Setup) -> Source:
    """Return the figures of the lesson and of its exercise, drawn from small twins."""
    return Source(
        s.name,
        "Generative models: VAEs and GANs (lesson)",
        "A VAE and GANs of digits, what keeps a critic in bounds, remedies, evaluation; and the exercise, a VAE-GAN "
        "of clothes at lambda 0, 0.1 and 1.",
        (*_models(s), *_critics(s), *_remedies(s), *_judgement(s), *_exercise(s), *_exercise_numbers(s)),
        0.2 if s.quick else 4,
    )


def _models(s: Setup) -> tuple[Figure, ...]:
    """Return the VAE, the GAN and the conditional GAN."""
    vae = s.train("mnist-vae", images=SEEN)
    gan, cgan = s.train("mnist-dcgan-laptop"), s.train("cgan-laptop")
    at = s.file
    return (
        Figure(
            "vae",
            "The VAE: digits and their reconstructions",
            (vae,),
            (
                Step(
                    f"reconstruct {vae} --n 16 --out {at('vae-reconstructions.png')}", "Originals over reconstructions"
                ),
                Step(f"sample {vae} --n {s.n(32, 8)} --prior model --out {at('vae-samples.png')}", "Samples"),
            ),
            lambda f: Said(
                f"{fell(f, str(vae), 'vae/loss', 'The loss')} The squared error of the digits above is "
                f"{f.answers[0]['mse']:.4f}. Cross-entropy on grey pixels is no density: its value is a loss, no "
                "likelihood."
            ),
            curves={str(vae): "Cross-entropy, KL and squared error"},
        ),
        Figure(
            "gan",
            "The DCGAN: samples, and the curves of both players",
            (gan,),
            (Step(f"sample {gan} --n {s.n(64, 8)} --out {at('gan-samples.png')}", "Samples"),),
            lambda f: Said(
                f"At the end the critic gives real digits {_score(f, gan, 'real'):.2f} and generated ones "
                f"{_score(f, gan, 'fake'):.2f}. At the line, .5, it cannot tell them apart. That the curves stay away "
                "from it is no failure: a critic that is a little ahead is what the generator learns from.",
            ),
            curves={str(gan): "Losses, and what the critic says of real and generated digits, with the line at .5"},
        ),
        Figure(
            "conditional",
            "The conditional GAN: ask for a digit",
            (cgan,),
            (
                Step(
                    f"sample {cgan} --n {s.n(80, 20)} --out {at('classes.png')}",
                    "A class a row, the same codes in each",
                ),
            ),
            lambda f: Said(
                "The class is joined to z by an embedding, and is given to the critic too. Look for rows with a wrong "
                "digit, and for columns that look alike: then the class decides all and the code little."
            ),
        ),
    )


def _critics(s: Setup) -> tuple[Figure, ...]:
    """Return what holds a critic in bounds."""
    critics = {name: s.train(f"{name}-laptop") for name in CONSTRAINTS}
    at = s.file
    return (
        Figure(
            "constraints",
            "The Wasserstein loss, and what holds its critic",
            tuple(critics.values()),
            (
                *(
                    Step(f"sample {run} --n 16 --out {at(f'{name}.png')}", CONSTRAINTS[name])
                    for name, run in critics.items()
                ),
                *(Step(f"evaluate {run} --metrics fd --n {s.n(1000, 32)}{s.features}") for run in critics.values()),
            ),
            lambda f: _constraints(f, critics),
            claim="The loss -mean D(real) + mean D(fake) needs no constraint on the critic: the lesson states none.",
            curves={str(critics["wgan-unconstrained"]): "Without a constraint: judgements grow without bound"},
        ),
    )


def _remedies(s: Setup) -> tuple[Figure, ...]:
    """Return remedies, one at a time."""
    base = _scored(s)
    remedies = {
        name: s.train("mnist-dcgan-laptop", f"mnist-dcgan-{name}", images=SHORT, **settings)
        for name, (_, settings) in REMEDIES.items()
    }
    at = s.file
    return (
        Figure(
            "remedies",
            "Remedies for mode collapse and instability",
            (base, *remedies.values()),
            (
                *(
                    Step(f"sample {run} --n 16 --checkpoint last --out {at(f'remedy-{name}.png')}", words)
                    for name, words, run in _named(base, remedies)
                ),
                *(
                    Step(f"evaluate {run} --metrics fd,pr --checkpoint last --n {s.n(1000, 32)}{s.features}")
                    for _, _, run in _named(base, remedies)
                ),
            ),
            lambda f: _compared(f, base, remedies),
        ),
    )


def _judgement(s: Setup) -> tuple[Figure, ...]:
    """Return the models by numbers, and by people."""
    vae, gan = s.train("mnist-vae", images=SEEN), s.train("mnist-dcgan-laptop")
    faces = s.train("toyfaces-mask-vae", images=15_000, own=True)
    base, at = _scored(s), s.file
    return (
        Figure(
            "evaluation",
            "Evaluation: the VAE and the GAN by numbers",
            (vae, gan, faces),
            (
                Step(f"evaluate {vae} --metrics fd,pr{'' if s.quick else ',is'} --n {s.n(1000, 32)}{s.features}"),
                Step(f"evaluate {gan} --metrics fd,pr{'' if s.quick else ',is'} --n {s.n(1000, 32)}{s.features}"),
                Step(f"evaluate {vae} --metrics mse,{'elbo' if s.quick else 'iwae'} --n {s.n(100, 16)}"),
                Step(f"evaluate {faces} --metrics {'mse' if s.quick else 'disentanglement'}"),
            ),
            _evaluation,
        ),
        Figure(
            "best-checkpoint",
            "Checkpoints: the best by validation distance",
            (base,),
            (Step(f"sample {base} --n 16 --checkpoint best --out {at('best.png')}", "Samples of the best checkpoint"),),
            lambda f: _best(f, str(base)),
            curves={str(base): "The Frechet distance to held-out digits is measured at each checkpoint"},
        ),
        Figure(
            "human-judgement",
            "Human judgement: a blind test",
            (gan,),
            (Step(f"judge {gan} --trials 20 --out {at('judge.html')}"),),
            lambda f: Said(
                f"Open {at('judge.html')} and give it to others: real or generated? 20 digits, two seconds each. The "
                "answers that people save are pooled by morpho judge --answers FILE FILE. At 50 % wrong, nobody can "
                "tell."
            ),
        ),
    )


def _exercise(s: Setup) -> tuple[Figure, ...]:
    """Return the models of the exercise side by side."""
    exercise, mixed, plain = _exercised(s)
    at = s.file
    return (
        Figure(
            "exercise-samples",
            "Exercise: 16 samples of the VAE, the GAN and the VAE-GAN",
            (exercise, plain),
            (
                Step(f"sample {mixed['0']} --n 16 --prior model --out {at('exercise-vae.png')}", "VAE (lambda 0)"),
                Step(
                    f"sample {mixed['0.1']} --n 16 --prior model --out {at('exercise-mix.png')}", "VAE-GAN, lambda 0.1"
                ),
                Step(f"sample {mixed['1']} --n 16 --prior model --out {at('exercise-one.png')}", "VAE-GAN, lambda 1"),
                Step(f"sample {plain} --n 16 --out {at('exercise-gan.png')}", "GAN"),
                *(
                    Step(f"evaluate {run} --metrics fd,sharpness --n {s.n(1000, 32)}{s.features}")
                    for run in (*mixed.values(), plain)
                ),
            ),
            _samples,
            claim="The critic makes the VAE's samples sharper.",
        ),
        Figure(
            "exercise-reconstructions",
            "Exercise: reconstruction error",
            (exercise,),
            (
                *(
                    Step(f"reconstruct {run} --n 16 --out {at(f'exercise-rebuilt-{value}.png')}", f"lambda {value}")
                    for value, run in mixed.items()
                ),
                *(Step(f"evaluate {run} --metrics mse --n {s.n(1000, 32)}") for run in mixed.values()),
            ),
            lambda f: Said(
                "With a growing lambda, the reconstructions gain edges and lose likeness. At lambda 1 the mix has no "
                "reconstruction loss at all: the images need only look real.",
                table=Table(
                    ("lambda", "squared error, held out"),
                    [[value, f.text(step, "MSE")] for step, value in enumerate(LAMBDAS, 3)],
                ),
            ),
        ),
        Figure(
            "exercise-curves",
            "Exercise: the curves of both players",
            (exercise, plain),
            (),
            lambda f: Said(
                "At the line, .5, the critic cannot tell real images from generated ones. At the end it gives "
                f"generated images {f.logs[mixed['0.1']]['critic/score_fake']:.2f} at lambda 0.1, "
                f"{f.logs[mixed['1']]['critic/score_fake']:.2f} at lambda 1 and {_score(f, plain, 'fake'):.2f} in the "
                "plain GAN. At lambda 0 it watches without any influence."
            ),
            curves={
                mixed["0.1"]: "VAE-GAN, lambda 0.1",
                mixed["1"]: "VAE-GAN, lambda 1",
                str(plain): "GAN",
            },
        ),
    )


def _exercise_numbers(s: Setup) -> tuple[Figure, ...]:
    """Return what the exercise asks to be tracked."""
    exercise, mixed, plain = _exercised(s)
    return (
        Figure(
            "exercise-smoothness",
            "Exercise: smoothness of the curves and of the space",
            (exercise, plain),
            tuple(
                Step(f"evaluate {run} --metrics smoothness --prior model --n {s.n(1000, 32)}")
                for run in (*mixed.values(), plain)
            ),
            lambda f: _smoothness(f, mixed, plain),
        ),
        Figure(
            "exercise-collapse",
            "Exercise: watching for posterior collapse",
            (exercise,),
            tuple(Step(f"diagnose {run} --n {s.n(500, 32)}") for run in mixed.values()),
            lambda f: _collapse(f, mixed),
        ),
    )


def _scored(s: Setup) -> Training:
    """Return the GAN without a remedy, whose distance to held-out digits is measured as it trains."""
    features: dict[str, Any] = {"metrics_features": "pixels"} if s.quick else {}
    how: dict[str, Any] = {"best": "fd", "metrics_n": s.n(500, 16), **features}
    return s.train("mnist-dcgan-laptop", "mnist-dcgan-scored", images=SHORT, **how)


def _exercised(s: Setup) -> tuple[Training, dict[str, str], Training]:
    """Return the sweep over lambda, the run of each lambda, and the plain GAN beside it."""
    exercise = s.train("fashion-vaegan-laptop", grid=f"lambda={','.join(LAMBDAS)}")
    clothes, _ = s.data_of("fashion-vaegan-laptop")
    plain = s.train("mnist-dcgan-laptop", "fashion-dcgan-laptop", data=clothes, images=25_000)
    return exercise, {value: exercise.member(f"lambda={value}") for value in LAMBDAS}, plain


def _named(base: Training, remedies: dict[str, Training]) -> list[tuple[str, str, Training]]:
    return [("none", "no remedy", base), *((name, REMEDIES[name][0], run) for name, run in remedies.items())]


def _score(f: Found, run: Training, kind: str) -> float:
    return float(f.logs[str(run)][f"critic/score_{kind}"])


def _constraints(f: Found, critics: dict[str, Training]) -> Said:
    gaps = {name: _score(f, run, "real") - _score(f, run, "fake") for name, run in critics.items()}
    distances = {name: f.value(step, "FD") for step, name in enumerate(critics, len(critics))}
    free, clipped = abs(gaps["wgan-unconstrained"]), abs(gaps["wgan"])
    best = min(distances, key=distances.__getitem__)
    rows = [
        [CONSTRAINTS[name], f"{gaps[name]:.3g}", f.text(step, "FD")] for step, name in enumerate(critics, len(critics))
    ]
    return Said(
        f"Without a constraint the critic judges real digits {free:,.3g} above generated ones, with clipped weights "
        f"{clipped:.3g}: a critic of unbounded slope can make that number as large as it likes, so it is no distance. "
        f"Nearest to real digits after so few images: {CONSTRAINTS[best]}.",
        holds=free < 10 * max(clipped, 1.0),
        table=Table(("constraint", "mean D(real) - mean D(fake) at the end", "Frechet distance"), rows),
    )


def _compared(f: Found, base: Training, remedies: dict[str, Training]) -> Said:
    named = _named(base, remedies)
    count = len(named)
    rows = [
        [words, f.text(count + i, "FD"), f.text(count + i, "precision", ".2f"), f.text(count + i, "recall", ".2f")]
        for i, (_, words, _) in enumerate(named)
    ]
    distances = {words: f.value(count + i, "FD") for i, (_, words, _) in enumerate(named)}
    best = min(distances, key=distances.__getitem__)
    return Said(
        f"The same GAN, as many images, one remedy at a time. The smallest Frechet distance here has: {best}. A "
        "recall near 0 would mean mode collapse, few kinds of digits; without a remedy it is "
        f"{f.value(count, 'recall'):.2f}. A remedy repairs a fault: where the game is healthy, most cost more than "
        "they bring.",
        table=Table(("remedy", "Frechet distance", "precision", "recall"), rows),
    )


def _evaluation(f: Found) -> Said:
    names = {
        "FD": "Frechet distance",
        "precision": "precision",
        "recall": "recall",
        "IS": "Inception Score, of a classifier of these images",
    }
    there = {str(one["name"]).partition("[")[0] for one in f.answers[0]["results"]}
    rows = [[words, f.text(0, name), f.text(1, name)] for name, words in names.items() if name in there]
    bound = next(one for one in f.answers[2]["results"] if str(one["name"]).startswith(("IWAE", "ELBO")))
    rows.append(["squared error", f.text(2, "MSE"), "no encoder"])
    rows.append([f"{bound['name']}, nats", f"{bound['value']:.1f}", "no likelihood"])
    metrics = {str(one["name"]): float(one["value"]) for one in f.answers[3]["results"]}
    factors = ", ".join(
        f"{name} {value:.2f}" for name, value in metrics.items() if name.startswith(("beta-VAE", "FactorVAE", "MIG, b"))
    )
    return Said(
        "The distance and the scores are measured in features of a classifier of these images, so they compare with "
        "each other and not with a published FID. The two models win in different columns: the bound asks what "
        "images the VAE thinks possible, the distance what samples look like. Disentanglement needs known factors, "
        f"so it is measured on drawn faces: {factors}.",
        table=Table(("number", "VAE", "GAN"), rows),
    )


def _best(f: Found, run: str) -> Said:
    best = f.best[run]
    scores = [float(found["value"]) for found in best.get("selection", {}).values()]
    said = (
        f"Of the checkpoints of the run, the one at image {best['checkpoint']:,} is the best"
        if best
        else "No checkpoint was chosen"
    )
    number = f", with a distance of {scores[0]:.3g}" if scores else ""
    return Said(
        f"{said}{number}. Every checkpoint holds both networks and both optimizers; load it, sample, or continue. The "
        "number by which it was chosen is biased in its favour, so the report measures it again on images that did "
        "not choose it."
    )


def _samples(f: Found) -> Said:
    sharp = [f.value(step, "sharpness") for step in range(4, 8)]
    names = ["VAE (lambda 0)", "VAE-GAN, lambda 0.1", "VAE-GAN, lambda 1", "GAN"]
    rows = [[name, f.text(step, "FD"), f.text(step, "sharpness")] for step, name in enumerate(names, 4)]
    return Said(
        f"Sharpness relative to real images: {sharp[0]:.2f} for the VAE, {sharp[1]:.2f} at lambda 0.1, {sharp[2]:.2f} "
        f"at lambda 1, {sharp[3]:.2f} for the GAN. Sharper is not nearer: look at the Frechet distance beside it.",
        holds=f.result(5, "sharpness")["low"] > f.result(4, "sharpness")["high"],
        table=Table(("model", "Frechet distance", "sharpness, real 1"), rows),
    )


def _smoothness(f: Found, mixed: dict[str, str], plain: Training) -> Said:
    runs = [*((f"lambda {value}", run) for value, run in mixed.items()), ("GAN", str(plain))]
    rows = []
    for step, (name, run) in enumerate(runs):
        rough = ", ".join(f"{player} {value:.2f}" for player, value in f.roughness[run].items())
        rows.append([name, rough, f.text(step, "jump"), f.text(step, "path length")])
    return Said(
        "The roughness of a loss is the spread of its steps over its fall: a straight line has 0, a loss that goes "
        "up and down without getting anywhere more than 1. The jump is the largest change of the image on a path "
        "over the mean change: 1 for an even walk, 16 for one leap.",
        table=Table(("model", "roughness of the losses", "jump", "path length"), rows),
    )


def _collapse(f: Found, mixed: dict[str, str]) -> Said:
    rows = []
    for (value, run), answer in zip(mixed.items(), f.answers):
        measured = answer["measured"]
        rows.append([value, f"{measured['kl_nats']:.3g}", str(measured["active_units"]), f"{f.logs[run]['images']:,}"])
    return Said(
        "A KL that goes to zero means that the codes say nothing and the decoder draws one image. Training stops by "
        f"itself when it stays below half a nat (stop_on_collapse, in the recipe). Here the KL is {rows[0][1]} nats "
        f"at lambda 0, {rows[1][1]} at lambda 0.1 and {rows[2][1]} at lambda 1.",
        table=Table(("lambda", "KL, nats", "active units", "images seen"), rows),
    )
