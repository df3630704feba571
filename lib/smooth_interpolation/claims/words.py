"""Numbers in words: what sentences on records show of them."""


def number(value: float, digits: int = 2) -> str:
    """With two significant digits, or so many.

    Example:
        >>> number(51.7), number(0.0213), number(1246.5), number(51.72, 3)
        ('52', '0.021', '1,200', '51.7')
    """
    rounded = float(f"{value:.{digits - 1}e}")
    return f"{rounded:,.0f}" if abs(rounded) >= 10 ** (digits - 1) else f"{rounded:.{digits}g}"
