"""Laws of several variables: loss as a function of model size, data and compute together.

The same noun as in `laws.py`; x holds the variables along its first axis, in the order of
`law.variables`: `fit(CHINCHILLA, (params, tokens), loss)`.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from fits.base.numbers import Array, arrays, stack
from fits.laws.curves import LAWS, POWER, POWER_FLOOR, Law, folding
from fits.laws.varpro import foremost, grid, least


def chinchilla(
    params: ArrayLike,
    data: ArrayLike,
    E: ArrayLike,
    A: ArrayLike,
    alpha: ArrayLike,
    B: ArrayLike,
    beta: ArrayLike,
) -> Array:
    """Loss that neither a larger model nor more data alone can bring down to its floor.

        L(N, D) = E + A / N ** alpha + B / D ** beta

    On a log-log plot against N at constant D: falling with slope -alpha above a floor that D
    decides, E + B / D ** beta; and the other way round.

    Args:
      params: parameters of the model N, > 0.
      data: tokens or images seen D, > 0, of a shape that goes with that of `params`.
      E: irreducible loss, >= 0, in the unit of the loss (nats a token).
      A, B: loss above E that one parameter, or one token, would leave, > 0.
      alpha, beta: exponents, dimensionless, > 0.

    Returns:
      Loss, of the shape that `params` and `data` have together.

    Source: Hoffmann et al. 2022, "Training Compute-Optimal Large Language Models", equation 2.
    """
    params, data, E, A, alpha, B, beta = arrays(params, data, E, A, alpha, B, beta)
    n, d = np.log(params), np.log(data)
    return E + np.exp(np.log(A) - alpha * n) + np.exp(np.log(B) - beta * d)


def optimal_params(
    data: ArrayLike, A: ArrayLike, alpha: ArrayLike, B: ArrayLike, beta: ArrayLike
) -> Array:
    """The model size for which so much data is just right, of `chinchilla` at constant N D.

    There a little more of either is worth the same: alpha A / N ** alpha = beta B / D ** beta.
    """
    data, A, alpha, B, beta = arrays(data, A, alpha, B, beta)
    return np.exp(_balance(np.log(data), A, alpha, B, beta))


def _balance(d: Array, A: Array, alpha: Array, B: Array, beta: Array) -> Array:
    return (np.log(alpha) + np.log(A) - np.log(beta) - np.log(B) + beta * d) / alpha


def _chinchilla_slopes(x: Array, E: Array, A: Array, alpha: Array, B: Array, beta: Array) -> Array:
    n, d = np.log(x)
    by_size, by_data = np.exp(np.log(A) - alpha * n), np.exp(np.log(B) - beta * d)
    slopes = np.empty((5, *by_size.shape))
    slopes[0] = 1
    slopes[1], slopes[3] = by_size, by_data
    np.multiply(by_size, -n, out=slopes[2])
    np.multiply(by_data, -d, out=slopes[4])
    return slopes


def _chinchilla_starts(x: Array, y: Array, weights: Array) -> Array:
    """The best of a grid of exponents, with E, A and B solved for by relative errors."""
    exponents = np.geomspace(0.05, 2, 16)
    alpha, beta = grid(exponents, exponents)
    terms = stack(1.0, x[0] ** -alpha[:, None], x[1] ** -beta[:, None]).swapaxes(0, 1)
    found, misfit = least(terms / y, np.ones_like(y), weights)
    E, A, B = found.T
    tiny = 1e-6 * y.min()
    return foremost(misfit, E, np.maximum(A, tiny), alpha, np.maximum(B, tiny), beta)


def data_repeated(
    params: ArrayLike,
    data: ArrayLike,
    unique: ArrayLike,
    E: ArrayLike,
    A: ArrayLike,
    alpha: ArrayLike,
    B: ArrayLike,
    beta: ArrayLike,
    reuse: ArrayLike,
    excess: ArrayLike,
) -> Array:
    """Loss where data is seen again and again, and the model may be too large for the data.

        L(N, D, U) = E + A / N' ** alpha + B / D' ** beta
        D' = U + U R (1 - exp(-(D / U - 1) / R)),               R = reuse
        N' = M + M S (1 - exp(-(N / M - 1) / S)),               S = excess
        M = min(N, the size for which U is just right: `optimal_params`)

    On a log-log plot against D at constant N and U: falls as `chinchilla` while D <= U, a little
    less fast for some epochs, then flat: R epochs of old data at most are worth anything.

    Args:
      params: parameters of the model N, > 0.
      data: tokens or images seen D, > 0.
      unique: how many of them are different U, > 0; more than D counts as D.
      E, A, alpha, B, beta: as in `chinchilla`.
      reuse: repetitions worth about as much as (1 - 1/e) of as many fresh epochs, > 0.
      excess: the same of parameters beyond what the unique data can use, > 0.

    Returns:
      Loss, of the shape that the first three have together.

    Source: Muennighoff et al. 2023, "Scaling Data-Constrained Language Models", section 3 (there
    R_D* and R_N*).
    """
    n, d, u = np.log(params), np.log(data), np.log(unique)
    E, A, alpha, B, beta, reuse, excess = arrays(E, A, alpha, B, beta, reuse, excess)
    kept = np.minimum(u, d)
    size = np.minimum(n, _balance(kept, A, alpha, B, beta))
    return (
        E
        + np.exp(np.log(A) - alpha * (size + np.log(_worth(n - size, excess)[0])))
        + np.exp(np.log(B) - beta * (kept + np.log(_worth(d - kept, reuse)[0])))
    )


def _worth(more: Array, scale: Array) -> tuple[Array, Array, Array]:
    """What exp(more) times as much is worth, as a multiple of what was new, 1 + R (1 - exp(-q)).

    Returns it, and its derivatives by `more` and by the logarithm of the scale R.
    """
    beyond = np.expm1(np.minimum(more, 700.0))  # below the largest number there is
    fade = np.exp(-beyond / scale)
    gained = -scale * np.expm1(-beyond / scale)
    return 1 + gained, (beyond + 1) * fade, gained - beyond * fade


def _repeated_slopes(
    x: Array,
    E: Array,
    A: Array,
    alpha: Array,
    B: Array,
    beta: Array,
    reuse: Array,
    excess: Array,
) -> Array:
    n, d, u = np.log(x)
    kept = np.minimum(u, d)
    balance = _balance(kept, A, alpha, B, beta)
    size = np.minimum(n, balance)
    large = balance < n  # only there do A .. beta move `size`
    worth_n, by_more, by_excess = _worth(n - size, excess)
    worth_d, _, by_reuse = _worth(d - kept, reuse)
    models, tokens = size + np.log(worth_n), kept + np.log(worth_d)
    by_size, by_data = np.exp(np.log(A) - alpha * models), np.exp(np.log(B) - beta * tokens)
    # d models / d balance, where the model is larger than its data can use
    pull = -alpha * by_size * np.where(large, 1 - by_more / worth_n, 0)
    return stack(
        1.0,
        by_size + pull / alpha,
        -models * by_size + pull * (1 / alpha - balance) / alpha,
        by_data - pull / alpha,
        -tokens * by_data + pull * (kept - 1 / beta) / alpha,
        -beta * by_data * by_reuse / worth_d,
        -alpha * by_size * by_excess / worth_n,
    )


def _repeated_starts(x: Array, y: Array, weights: Array) -> Array:
    """Exponents and both scales of reuse on a grid; A and B from a start without reuse of size."""
    few = np.array([0.15, 0.25, 0.35, 0.5, 0.8])
    alpha, beta, reuse = grid(few, few, np.array([2.0, 6.0, 20.0, 60.0]))
    n, d, u = np.log(x)
    kept = np.minimum(u, d)
    tokens = kept + np.log(_worth(d - kept, reuse[:, None])[0])
    sizes = n * np.ones_like(tokens)
    for _ in range(3):  # the sizes' worth needs A and B, which need the sizes' worth
        terms = stack(1.0, np.exp(-alpha[:, None] * sizes), np.exp(-beta[:, None] * tokens))
        found, misfit = least(terms.swapaxes(0, 1) / y, np.ones_like(y), weights)
        E = found[:, 0]
        A, B = np.maximum(found[:, 1:], 1e-6 * y.min()).T
        size = np.minimum(n, _balance(kept, *(v[:, None] for v in (A, alpha, B, beta))))
        sizes = size + np.log(_worth(n - size, np.array(5.0))[0])
    return foremost(misfit, E, A, alpha, B, beta, reuse, np.full(len(A), 5.0))


def shape_law(
    x: ArrayLike,
    t: ArrayLike,
    alpha: ArrayLike,
    a: ArrayLike,
    beta: ArrayLike,
    b: ArrayLike,
    xi: ArrayLike,
    c: ArrayLike,
    eps: ArrayLike,
) -> Array:
    """Error of a model of which one dimension is varied: its width, depth or MLP.

        f(x, t) = alpha * x ** -a + (beta * x ** b + xi) * t ** -c + eps

    On a log-log plot against x at constant compute: a valley, with its lowest point at
    (alpha a t ** c / (beta b)) ** (1 / (a + b)); against t at constant x: falling with slope -c
    to a floor that x decides.

    Args:
      x: the dimension (width, depth or MLP), > 0.
      t: compute spent on training, > 0, say GFLOP.
      alpha: error that a dimension of 1 would leave, > 0.
      a: exponent of the dimension, > 0.
      beta: how much a larger dimension slows learning, > 0.
      b: exponent of that, > 0.
      xi: error at t == 1 that no dimension decides, >= 0.
      c: exponent of compute, > 0.
      eps: irreducible error, >= 0.

    Returns:
      Error, of the shape that x and t have together.

    Source: Alabdulmohsin et al. 2023, "Getting ViT in Shape", equation 2.
    """
    x, t = np.log(x), np.log(t)
    alpha, a, beta, b, xi, c, eps = arrays(alpha, a, beta, b, xi, c, eps)
    slowed = np.exp(np.log(beta) + b * x) + xi
    return np.exp(np.log(alpha) - a * x) + slowed * np.exp(-c * t) + eps


def _shape_slopes(
    x: Array, alpha: Array, a: Array, beta: Array, b: Array, xi: Array, c: Array, eps: Array
) -> Array:
    dimension, t = np.log(x)
    small, large = np.exp(np.log(alpha) - a * dimension), np.exp(np.log(beta) + b * dimension)
    fall = np.exp(-c * t)
    return stack(
        small,
        -dimension * small,
        large * fall,
        dimension * large * fall,
        fall,
        -t * (large + xi) * fall,
        1.0,
    )


def _shape_starts(x: Array, y: Array, weights: Array) -> Array:
    a, b, c = grid(np.geomspace(0.1, 3, 8), np.geomspace(0.1, 3, 8), np.geomspace(0.1, 2, 8))
    dimension, t = np.log(x)
    fall = np.exp(-c[:, None] * t)
    small, large = np.exp(-a[:, None] * dimension), np.exp(b[:, None] * dimension) * fall
    found, misfit = least(
        stack(small, large, fall, 1.0).swapaxes(0, 1) / y, np.ones_like(y), weights
    )
    alpha, beta, xi, eps = found.T
    tiny = 1e-6 * y.min()
    alpha, beta = np.maximum(alpha, tiny), np.maximum(beta, tiny)
    return foremost(misfit, alpha, a, beta, b, xi, c, eps, count=24)


_SCALE, _EXPONENT, _FLOOR = (1e-30, 1e30), (1e-3, 10.0), (0.0, np.inf)
_fold, _unfold = folding("plplp")
CHINCHILLA = Law(
    name="chinchilla",
    formula="E + A / N^alpha + B / D^beta",
    parameters=("E", "A", "alpha", "B", "beta"),
    predict=lambda x, *values: chinchilla(x[0], x[1], *values),
    source="Hoffmann et al. 2022, Training Compute-Optimal Large Language Models, equation 2",
    rescale=lambda unit, E, A, alpha, B, beta: stack(
        E, A * unit[0] ** alpha, alpha, B * unit[1] ** beta, beta
    ),
    fold=_fold,
    unfold=_unfold,
    slopes=_chinchilla_slopes,
    starts=_chinchilla_starts,
    bounds=(_FLOOR, _SCALE, _EXPONENT, _SCALE, _EXPONENT),
    floor="E",
    variables=("N", "D"),
    units=(0, 1),
)
_fold, _unfold = folding("plplpll")
REPEATED = Law(
    name="repeated",
    formula="E + A / N'^alpha + B / D'^beta; D' = U + U R (1 - exp(-(D/U - 1) / R)), R = reuse; "
    "N' alike of the size that suits U, with S = excess",
    parameters=("E", "A", "alpha", "B", "beta", "reuse", "excess"),
    predict=lambda x, *values: data_repeated(x[0], x[1], x[2], *values),
    source="Muennighoff et al. 2023, Scaling Data-Constrained Language Models, section 3",
    rescale=lambda unit, E, A, alpha, B, beta, reuse, excess: stack(
        E, A * unit[0] ** alpha, alpha, B * unit[1] ** beta, beta, reuse, excess
    ),
    fold=_fold,
    unfold=_unfold,
    slopes=_repeated_slopes,
    starts=_repeated_starts,
    bounds=(_FLOOR, _SCALE, _EXPONENT, _SCALE, _EXPONENT, (1e-2, 1e4), (1e-2, 1e4)),
    floor="E",
    variables=("N", "D", "U"),
    units=(0, 1, 1),
)
_fold, _unfold = folding("lplpppp")
SHAPE = Law(
    name="shape",
    formula="alpha x^-a + (beta x^b + xi) t^-c + eps",
    parameters=("alpha", "a", "beta", "b", "xi", "c", "eps"),
    predict=lambda x, *values: shape_law(x[0], x[1], *values),
    source="Alabdulmohsin et al. 2023, Getting ViT in Shape, equation 2",
    rescale=lambda unit, alpha, a, beta, b, xi, c, eps: stack(
        *(alpha * unit[0] ** a, a, beta * unit[0] ** -b * unit[1] ** c, b, xi * unit[1] ** c),
        *(c, eps),
    ),
    fold=_fold,
    unfold=_unfold,
    slopes=_shape_slopes,
    starts=_shape_starts,
    bounds=(_SCALE, _EXPONENT, _SCALE, _EXPONENT, _FLOOR, _EXPONENT, _FLOOR),
    floor="eps",
    variables=("x", "t"),
    units=(0, 1),
)

SURFACES = {law.name: law for law in (CHINCHILLA, REPEATED, SHAPE)}


def within(law: Law, other: Law, variables: tuple[str, ...]) -> Law:
    """`law`, of some of the variables of `other`, as a law of them all: say "power in N"."""
    places = tuple(other.variables.index(name) for name in variables)
    mine = places[0] if len(places) == 1 else list(places)
    return replace(
        law,
        name=f"{law.name} in {', '.join(variables)}",
        predict=lambda x, *values: law.predict(np.asarray(x)[mine], *values),
        rescale=lambda unit, *values: law.rescale(unit[mine], *values),
        slopes=lambda x, *values: law.slopes(x[mine], *values),
        starts=lambda x, y, weights: law.starts(x[mine], y, weights),
        variables=other.variables,
        units=other.units,
        reads=places,
    )


def rivals(law: Law) -> list[Law]:
    """The laws that could be meant where `law` is fitted: of its variables, or of some of them."""
    if len(law.variables) == 1:
        return list(({law.name: law} | LAWS).values())
    simple = [within(each, law, (name,)) for name in law.variables for each in (POWER, POWER_FLOOR)]
    if law is REPEATED:
        simple = [within(CHINCHILLA, law, CHINCHILLA.variables), *simple]
    return [law, *simple]
