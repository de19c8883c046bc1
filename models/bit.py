"""BiT: the ResNet of "Big Transfer", pre-activation, GroupNorm, weight standardisation.

And the same with norm and ReLU after each convolution, which has `root_norm` instead of `norm` and
a `projection_norm`: a network of its own, for which no weights were published.

Images in, one vector an image out, as every backbone here. Parameters by path: `root/kernel`,
`stages/{i}/first/...`, `stages/{i}/blocks/...` with the stage's other blocks as the leading axis
(a stage of one block has none), `norm/{scale,bias}`; a block has `norm1`, `conv1`, `norm2`,
`conv2`, `norm3`, `conv3` and, where it changes width or side, `projection`.

The epsilons, the divisors of the variances and the paddings are those of the published weights
(big_vision, models/bit_paper.py): another choice of any runs, and is another network.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from models.layers import Kernel
from models.noise import Noise
from models.precision import PLAIN, Precision
from models.shapes import GROUPS, BiTShape
from models.stack import stacked

WIDENING = 4  # of a bottleneck's output over its middle


class GroupNorm(nnx.Module):
    """Zero mean, unit variance over height, width and a group's channels; `scale` and `bias`.

        (x - mean) / sqrt(mean((x - mean)^2) + EPSILON) * scale + bias

    No image sees another, so that batches may be of any size. Wu & He 2018.
    """

    EPSILON = 1e-5

    def __init__(self, channels: int):
        self.scale = nnx.Param(jnp.ones(channels))
        self.bias = nnx.Param(jnp.zeros(channels))

    def __call__(
        self, x: Float[Array, "batch height width channels"]
    ) -> Float[Array, "batch height width channels"]:
        grouped = x.reshape(*x.shape[:-1], GROUPS, -1)
        unit = standardised(grouped, (1, 2, 4), self.EPSILON).reshape(x.shape)
        return unit * self.scale[...] + self.bias[...]


class StandardisedConv(nnx.Module):
    """A convolution whose kernel has zero mean and unit variance for each output channel.

        w = (kernel - mean) / sqrt(mean((kernel - mean)^2) + EPSILON),  over height, width, inputs

    kernel [height, width, inputs, outputs] LeCun-normal, no bias. The scale of `kernel` changes
    nothing but how fast it learns. Qiao et al. 2019, "Weight Standardization".
    """

    EPSILON = 1e-10

    def __init__(self, inputs: int, outputs: int, *, side: int, stride: int = 1, rngs: nnx.Rngs):
        """
        Args:
          inputs: channels of x.
          outputs: channels of the result.
          side: height and width of the kernel, odd; zeros are padded so that its centre visits
            the first pixel.
          stride: pixels between two places of the kernel.
        """
        lecun_normal = jax.nn.initializers.lecun_normal()
        self.kernel = Kernel(lecun_normal(rngs.params(), (side, side, inputs, outputs)))
        self.stride = stride

    def __call__(
        self, x: Float[Array, "batch height width inputs"]
    ) -> Float[Array, "batch height_out width_out outputs"]:
        kernel = standardised(self.kernel[...], (0, 1, 2), self.EPSILON)
        margin = len(kernel) // 2
        return jax.lax.conv_general_dilated(
            x,
            kernel,
            window_strides=(self.stride, self.stride),
            padding=((margin, margin), (margin, margin)),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )


class Bottleneck(nnx.Module):
    """A residual block: norm and ReLU before each of the convolutions 1x1, 3x3, 1x1.

    The 3x3 has the stride. Where width or side change, the shortcut is a 1x1 convolution of the
    normalised input; elsewhere it is the input as it came. He et al. 2016, "Identity mappings".
    """

    def __init__(self, inputs: int, middle: int, *, stride: int = 1, rngs: nnx.Rngs):
        outputs = WIDENING * middle
        self.norm1 = GroupNorm(inputs)
        self.conv1 = StandardisedConv(inputs, middle, side=1, rngs=rngs)
        self.norm2 = GroupNorm(middle)
        self.conv2 = StandardisedConv(middle, middle, side=3, stride=stride, rngs=rngs)
        self.norm3 = GroupNorm(middle)
        self.conv3 = StandardisedConv(middle, outputs, side=1, rngs=rngs)
        self.projection = (
            StandardisedConv(inputs, outputs, side=1, stride=stride, rngs=rngs)
            if inputs != outputs or stride != 1
            else None
        )

    def __call__(
        self, x: Float[Array, "batch height width inputs"]
    ) -> Float[Array, "batch height_out width_out outputs"]:
        y = jax.nn.relu(self.norm1(x))
        shortcut = x if self.projection is None else self.projection(y)
        y = jax.nn.relu(self.norm2(self.conv1(y)))
        y = jax.nn.relu(self.norm3(self.conv2(y)))
        return shortcut + self.conv3(y)


class PostBottleneck(nnx.Module):
    """A residual block: norm after each of the convolutions 1x1, 3x3, 1x1, ReLU after the sum too.

    The shortcut's 1x1 convolution has a norm of its own. The last norm starts at zero, so that a
    block starts as its shortcut. He et al. 2016, "Deep residual learning"; Goyal et al. 2017.
    """

    def __init__(self, inputs: int, middle: int, *, stride: int = 1, rngs: nnx.Rngs):
        outputs = WIDENING * middle
        self.conv1 = StandardisedConv(inputs, middle, side=1, rngs=rngs)
        self.norm1 = GroupNorm(middle)
        self.conv2 = StandardisedConv(middle, middle, side=3, stride=stride, rngs=rngs)
        self.norm2 = GroupNorm(middle)
        self.conv3 = StandardisedConv(middle, outputs, side=1, rngs=rngs)
        self.norm3 = GroupNorm(outputs)
        self.norm3.scale[...] = jnp.zeros(outputs)
        projected = inputs != outputs or stride != 1
        self.projection = (
            StandardisedConv(inputs, outputs, side=1, stride=stride, rngs=rngs)
            if projected
            else None
        )
        self.projection_norm = GroupNorm(outputs) if projected else None

    def __call__(
        self, x: Float[Array, "batch height width inputs"]
    ) -> Float[Array, "batch height_out width_out outputs"]:
        shortcut = x
        if self.projection is not None and self.projection_norm is not None:
            shortcut = self.projection_norm(self.projection(x))
        y = jax.nn.relu(self.norm1(self.conv1(x)))
        y = jax.nn.relu(self.norm2(self.conv2(y)))
        return jax.nn.relu(shortcut + self.norm3(self.conv3(y)))


BLOCKS = {"pre": Bottleneck, "post": PostBottleneck}


class Stage(nnx.Module):
    """Blocks of one width: the first brings it about, the others are identical and scanned."""

    def __init__(
        self, order: str, inputs: int, middle: int, depth: int, *, stride: int, rngs: nnx.Rngs
    ):
        block = BLOCKS[order]
        self.first = block(inputs, middle, stride=stride, rngs=rngs)
        self.blocks = (
            stacked(
                lambda rngs: block(WIDENING * middle, middle, rngs=rngs),
                depth - 1,
                rngs.params(),
            )
            if depth > 1
            else None
        )

    def __call__(
        self, x: Float[Array, "batch height width inputs"]
    ) -> Float[Array, "batch height_out width_out outputs"]:
        x = self.first(x)
        if self.blocks is None:
            return x
        block, layers = nnx.split(self.blocks)
        return jax.lax.scan(lambda x, layer: (nnx.merge(block, layer)(x), None), x, layers)[0]


class BiT(nnx.Module):
    """Images in [-1, 1] to one vector an image, which is what a linear head or a probe reads.

        x = maxpool(root(images));  x = stage(x), four times;  output = mean(ReLU(GN(x)))

    or, where each norm and ReLU come after their convolution, ReLU(GN(...)) about the root alone.

    The root is 7x7 with stride 2, the pool 3x3 with stride 2; a pixel past the edge is 0 to the
    first and smaller than any other to the second. Kolesnikov et al. 2020, section 3.3.
    """

    def __init__(self, shape: BiTShape, precision: Precision = PLAIN, *, rngs: nnx.Rngs):
        if precision.compute != "float32" or precision.rematerialise != "none":
            raise ValueError(
                f"{shape.name} is a BiT, which computes in float32 and keeps what it computed; "
                f"{precision} asks for something else."
            )
        self.root = StandardisedConv(3, shape.width, side=7, stride=2, rngs=rngs)
        self.root_norm = GroupNorm(shape.width) if shape.order == "post" else None
        stages, inputs = [], shape.width
        for number, depth in enumerate(shape.stages):
            middle = shape.width * 2**number
            stride = 1 if number == 0 else 2
            stages.append(Stage(shape.order, inputs, middle, depth, stride=stride, rngs=rngs))
            inputs = WIDENING * middle
        self.stages = nnx.List(stages)
        self.norm = GroupNorm(inputs) if shape.order == "pre" else None

    def __call__(
        self, images: Float[Array, "batch side side 3"], noise: Noise | None = None
    ) -> Float[Array, "batch features"]:
        """
        Args:
          images: in [-1, 1].
          noise: of training; its rates are 0, as this network was never trained with others.
        """
        if noise is not None and (noise.dropout or noise.stochastic_depth):
            raise ValueError(
                f"dropout={noise.dropout:g} and stochastic_depth={noise.stochastic_depth:g}: "
                f"a BiT has neither; use 0."
            )
        x = self.root(images)
        if self.root_norm is not None:
            x = jax.nn.relu(self.root_norm(x))
        x = max_pool(x)
        for stage in self.stages:
            x = stage(x)
        if self.norm is not None:
            x = jax.nn.relu(self.norm(x))
        return x.mean((1, 2))


def standardised(
    x: Float[Array, "..."], axes: tuple[int, ...], epsilon: float
) -> Float[Array, "..."]:
    """x less its mean over `axes`, over the root of its mean square there plus `epsilon`."""
    centred = x - x.mean(axes, keepdims=True)
    return centred / jnp.sqrt(jnp.square(centred).mean(axes, keepdims=True) + epsilon)


def max_pool(
    x: Float[Array, "batch height width channels"],
) -> Float[Array, "batch height_out width_out channels"]:
    """The largest of 3x3 pixels around every second one."""
    margins = ((0, 0), (1, 1), (1, 1), (0, 0))
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 3, 3, 1), (1, 2, 2, 1), margins)
