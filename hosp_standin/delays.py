"""How long HOSP takes to respond: distributions that an option names."""

from __future__ import annotations

import math
import random

from attrs import frozen


class BadSetting(ValueError):
    """An invalid setting; the message says which and why."""


@frozen
class Delay:
    """A distribution of response times, in seconds before the time scale: ``none``, ``fixed:S``, ``uniform:A:B`` or
    ``lognormal:MEAN[:MAX]`` (MAX defaults to 20 s, and to at least a tenth of the mean).
    """

    shape: str
    first_s: float = 0.0
    second_s: float = 0.0

    SIGMA = 0.5  # HOSP's spread: with a mean of 4.4 s, nine of ten responses take 1.7 to 8.8 s

    @classmethod
    def parse(cls, text: str) -> Delay:
        """Parse a distribution.

        Raises:
            BadSetting: not one of the four forms, or invalid numbers.
        """
        shape, *rest = text.strip().split(":")
        numbers = [number(f"delay {text!r}", value) for value in rest]
        if not all(0 <= number < math.inf for number in numbers):
            raise BadSetting(f"delay {text!r}: seconds are 0 or more")
        match shape, numbers:
            case "none", []:
                return cls(shape)
            case "fixed", [seconds]:
                return cls(shape, seconds)
            case "uniform", [low, high] if low <= high:
                return cls(shape, low, high)
            case "lognormal", [mean] if 0 < mean <= 20:
                return cls(shape, mean, 20.0)
            case "lognormal", [mean, most] if 0 < mean <= most:
                return cls(shape, mean, most)
        raise BadSetting(f"delay {text!r}: none, fixed:S, uniform:A:B or lognormal:MEAN[:MAX] was expected")

    def draw(self, randomness: random.Random) -> float:
        """Draw one response time in seconds."""
        match self.shape:
            case "fixed":
                return self.first_s
            case "uniform":
                return randomness.uniform(self.first_s, self.second_s)
            case "lognormal":
                middle = math.log(self.first_s) - self.SIGMA**2 / 2
                drawn = randomness.lognormvariate(middle, self.SIGMA)
                return min(max(drawn, self.first_s / 10), self.second_s)
        return 0.0


def number(name: str, text: str) -> float:
    """Parse a number from an option's text.

    Raises:
        BadSetting: not a number; the message names `name`.
    """
    try:
        return float(text)
    except ValueError:
        raise BadSetting(f"{name}: a number was expected, not {text!r}") from None
