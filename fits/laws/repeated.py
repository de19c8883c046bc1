"""Loss where data are repeated (Muennighoff et al. 2023)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from fits.base.numbers import Array, arrays, stack
from fits.laws.chinchilla import EXPONENT, FLOOR, SCALE, balance
from fits.laws.law import Law, log_coordinates
from fits.laws.varpro import best_of_grid, grid, nnls


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
    size = np.minimum(n, balance(kept, A, alpha, B, beta))
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


def _repeated_jacobian(x: Array, *values: Array) -> Array:
    _, A, alpha, B, beta, reuse, excess = values
    n, d, u = np.log(x)
    kept = np.minimum(u, d)
    at_balance = balance(kept, A, alpha, B, beta)
    size = np.minimum(n, at_balance)
    large = at_balance < n  # only there do A .. beta move `size`
    worth_n, by_more, by_excess = _worth(n - size, excess)
    worth_d, _, by_reuse = _worth(d - kept, reuse)
    models, tokens = size + np.log(worth_n), kept + np.log(worth_d)
    by_size, by_data = np.exp(np.log(A) - alpha * models), np.exp(np.log(B) - beta * tokens)
    # d models / d balance, where the model is larger than its data can use
    by_balance = -alpha * by_size * np.where(large, 1 - by_more / worth_n, 0)
    return stack(
        1.0,
        by_size + by_balance / alpha,
        -models * by_size + by_balance * (1 / alpha - at_balance) / alpha,
        by_data - by_balance / alpha,
        -tokens * by_data + by_balance * (kept - 1 / beta) / alpha,
        -beta * by_data * by_reuse / worth_d,
        -alpha * by_size * by_excess / worth_n,
    )


def _repeated_guess(x: Array, y: Array, weights: Array) -> Array:
    """Exponents and the reuse of data on a grid, with E, A and B solved for by relative errors.

    First as if no model were too large for its data, then with what too large ones are worth: that
    needs A and B, which need it. Where this leads to A = 0, from which no way leads back, the
    first guesses stand beside the last.
    """
    few = np.array([0.15, 0.25, 0.35, 0.5, 0.8])
    alpha, beta, reuse = grid(few, few, np.array([2.0, 6.0, 20.0, 60.0]))
    n, d, u = np.log(x)
    kept = np.minimum(u, d)
    tokens = kept + np.log(_worth(d - kept, reuse[:, None])[0])
    sizes = n * np.ones_like(tokens)
    guesses = []
    for _ in range(3):
        terms = stack(1.0, np.exp(-alpha[:, None] * sizes), np.exp(-beta[:, None] * tokens))
        found, misfit = nnls(terms.swapaxes(0, 1) / y, np.ones_like(y), weights)
        E = found[:, 0]
        A, B = np.maximum(found[:, 1:], 1e-6 * y.min()).T
        excess = np.full(len(A), 5.0)
        guesses.append(best_of_grid(misfit, E, A, alpha, B, beta, reuse, excess))
        size = np.minimum(n, balance(kept, *(v[:, None] for v in (A, alpha, B, beta))))
        sizes = size + np.log(_worth(n - size, excess[:, None])[0])
    return np.concatenate([guesses[0], guesses[-1]], axis=1)


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
    coordinates=log_coordinates("plplpll"),
    jacobian=_repeated_jacobian,
    guess=_repeated_guess,
    bounds=(FLOOR, SCALE, EXPONENT, SCALE, EXPONENT, (1e-2, 1e4), (1e-2, 1e4)),
    roles={"E": "floor", "alpha": "exponent", "beta": "exponent", "A": "scale", "B": "scale"},
    variables=("N", "D", "U"),
    units=(0, 1, 1),
)
