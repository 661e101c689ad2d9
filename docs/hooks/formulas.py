"""MkDocs hook: bars over formulas are the character that fonts for formulas lengthen.

The converter writes a macron (U+00AF), of which STIX Two Math has one length; the overline (U+203E) has all.
"""


def on_page_content(html: str, **_: object) -> str:
    """Replace the operators.

    Args:
        html: Content of a page.

    Returns:
        The same with overlines.
    """
    return html.replace('<mo stretchy="true">&#x000AF;</mo>', '<mo stretchy="true">&#x203E;</mo>')
