"""Numbers in words: what sentences on records show of them."""


def number(value: float) -> str:
    """With two significant digits.

    Example:
        >>> number(51.7), number(0.0213), number(1246.5)
        ('52', '0.021', '1,200')
    """
    rounded = float(f"{value:.1e}")
    return f"{rounded:,.0f}" if abs(rounded) >= 10 else f"{rounded:.2g}"
