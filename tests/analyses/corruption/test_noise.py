"""What is drawn: its distribution, and that it belongs to an image and not to a batch."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats

from stmbench.analyses.corruption import noise, weather
from stmbench.analyses.corruption.noise import Draws
from stmbench.analyses.corruption.options import CORRUPTIONS
from stmbench.analyses.corruption.textures import frost_texture, plasma
from stmbench.analyses.corruption.transforms import corrupt
from stmbench.errors import ConfigError, InputError, UnknownNameError

UNLIKELY = 1e-3  # p-value; the draws are fixed, so a test that passes always does


def grey(value: float, count: int = 2, side: int = 96) -> torch.Tensor:
    return torch.full((count, 3, side, side), value)


def draws(count: int = 2, seed: int = 0) -> Draws:
    return Draws("a corruption", 1, range(count), seed=seed)


@pytest.mark.parametrize("deviation", [only for (only,) in noise.DEVIATIONS])
def test_gaussian_noise_is_normal_with_its_deviation(deviation: float) -> None:
    found = noise.gaussian_noise(grey(0.5), draws(), deviation).flatten().double() - 0.5
    assert float(found.std()) == pytest.approx(deviation, rel=0.02)
    assert stats.kstest(found.numpy() / deviation, "norm").pvalue > UNLIKELY


@pytest.mark.parametrize("photons", [only for (only,) in noise.PHOTONS])
@pytest.mark.parametrize("value", [0.25, 1.0])
def test_shot_noise_is_a_poisson_count(photons: float, value: float) -> None:
    found = (noise.shot_noise(grey(value), draws(), photons) * photons).flatten().double()
    assert torch.equal(found.round(), found.round().clamp(min=0))
    assert float((found - found.round()).abs().max()) < 1e-4  # whole counts
    counts, rate = found.round().int(), value * photons
    most = math.ceil(rate + 5)
    seen = torch.bincount(counts.clamp(max=most), minlength=most + 1).numpy()
    expected = [float(stats.poisson.pmf(k, rate)) for k in range(most)]
    expected = [*expected, 1 - sum(expected)]
    kept = [place for place, share in enumerate(expected) if share * len(counts) >= 5]
    rest = 1 - sum(expected[place] for place in kept)
    observed = [*(seen[place] for place in kept), len(counts) - sum(seen[place] for place in kept)]
    wanted = [*(expected[place] for place in kept), rest]
    pairs = [(one, share * len(counts)) for one, share in zip(observed, wanted, strict=True) if share > 1e-9]
    assert stats.chisquare(*zip(*pairs, strict=True), sum_check=False).pvalue > UNLIKELY
    assert float(noise.shot_noise(grey(0.0), draws(), photons).max()) == 0


@pytest.mark.parametrize("amount", [only for (only,) in noise.AMOUNTS])
def test_impulse_noise_is_salt_and_pepper_in_equal_parts(amount: float) -> None:
    found = noise.impulse_noise(grey(0.5), draws(), amount)
    for value, share in ((1.0, amount / 2), (0.0, amount / 2), (0.5, 1 - amount)):
        hits = int((found == value).sum())
        assert stats.binomtest(hits, found.numel(), share).pvalue > UNLIKELY
    per_channel = (found != 0.5).double()
    both = float((per_channel[:, 0] * per_channel[:, 1]).mean())
    assert both == pytest.approx(amount**2, abs=0.01)  # each channel by itself


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_an_image_is_corrupted_alike_in_every_batch_and_each_in_its_own_way(corruption: str) -> None:
    random = torch.Generator().manual_seed(1)
    images = torch.randint(256, (3, 3, 32, 40), generator=random).float() / 255
    images[2] = images[0]
    found = corrupt(images, corruption, 3, [7, 4, 9])
    assert found.shape == images.shape
    assert found.dtype == torch.float32
    assert torch.equal((found * 255).round() / 255, found)
    assert float(found.min()) >= 0
    assert float(found.max()) <= 1
    assert not torch.equal(found[0], images[0])
    assert torch.equal(corrupt(images[1:2], corruption, 3, [4])[0], found[1])
    assert torch.equal(corrupt(images.flip(0), corruption, 3, [9, 4, 7]).flip(0), found)
    drawn = corruption not in ("defocus_blur", "zoom_blur", "brightness", "contrast", "pixelate", "jpeg_compression")
    assert torch.equal(found[0], found[2]) != drawn  # the same image at another place of the set
    assert torch.equal(corrupt(images, corruption, 3, [7, 4, 9], seed=1), found) != drawn
    assert not torch.equal(corrupt(images, corruption, 5, [7, 4, 9]), found)


def test_frost_is_a_weighted_sum_with_a_texture_of_ice() -> None:
    found = corrupt(grey(0.5, 1, 64), "frost", 2, [5])
    kept, ice = weather.FROSTS[1]
    texture = frost_texture(Draws("frost", 2, [5]), 64, 64)
    expected = (255 * (kept * 0.5 + ice * texture).clamp(0, 1) + 1e-3).floor() / 255
    torch.testing.assert_close(found, expected)


def test_the_texture_of_ice_covers_about_half_and_differs_from_place_to_place() -> None:
    texture = frost_texture(draws(8), 128, 128)
    assert 0.35 < float(texture.mean()) < 0.55
    assert 0.15 < float(texture.std()) < 0.3
    assert float(texture[:, 0].mean()) < float(texture[:, 2].mean())  # a little blue
    fine = (texture[..., 1:] - texture[..., :-1]).abs().mean()
    assert float(fine) > 0.02  # needles, and not clouds


def test_fog_has_its_weight_in_long_waves() -> None:
    amplitude = {}
    for decay in (1.4, 2.0):
        clouds = plasma(draws(8), 64, decay)
        assert clouds.amin((1, 2)).tolist() == [0] * 8
        assert clouds.amax((1, 2)).tolist() == [1] * 8
        spectrum = torch.fft.rfft2(clouds - clouds.mean((1, 2), keepdim=True)).abs().square().mean(0)
        amplitude[decay] = float(spectrum[:4, :4].sum() / spectrum.sum())
    assert amplitude[2.0] > amplitude[1.4] > 0.2  # a faster decay leaves less of the short ones


def test_on_half_and_double_the_side_the_same_part_of_the_image_is_blurred() -> None:
    step = torch.zeros(1, 3, 448, 448)
    step[..., 224:] = 1
    widths = {}
    for side in (112, 224, 448):
        found = corrupt(step[..., :: 448 // side, :: 448 // side], "defocus_blur", 4, [0])
        widths[side] = float(((found > 0.02) & (found < 0.98)).float().mean())
    assert widths[112] == pytest.approx(widths[224], rel=0.2)
    assert widths[448] == pytest.approx(widths[224], rel=0.1)


@pytest.mark.parametrize(
    ("error", "changes"),
    [
        (UnknownNameError, {"corruption": "rain"}),
        (ConfigError, {"severity": 0}),
        (ConfigError, {"severity": 6}),
        (InputError, {"indices": [0]}),
    ],
)
def test_what_is_refused(error: type[Exception], changes: dict[str, object]) -> None:
    with pytest.raises(error):
        corrupt(**{"images": grey(0.5), "corruption": "fog", "severity": 1, "indices": [0, 1], **changes})  # type: ignore[arg-type]
