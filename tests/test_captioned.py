"""Tables of the pages: captions, heads with a scope, numbers on the right, mathematics and code set as such."""

import pandas as pd
import pytest

from smooth_interpolation.book import hyperparameters, table


def test_a_caption_is_part_of_its_table():
    html = table(hyperparameters.built_in(), "Sizes < 3").data
    assert "<table" in html and html.index("<caption><span>Sizes &lt; 3</span></caption>") < html.index("<thead>")
    folded = table(hyperparameters.built_in(), "Sizes < 3", folded=True).data
    assert folded.startswith("<details><summary>Sizes &lt; 3</summary>") and folded.endswith("</table></div></details>")
    assert "max-pooling by 2 after stages 2, 3 and 4, then by 4, one linear layer" in html  # not cut off


def test_what_has_no_html_gets_the_table_as_markdown():
    """As LaTeX, which would print the name of a Python object."""
    frame = pd.DataFrame({"share": ["5%", "a|b"]}, index=["a", "`b`"])
    for shown in (table(frame, "Numbers."), table(frame, "Numbers.", folded=True)):
        said = shown._repr_markdown_()
        assert said.startswith("Numbers.\n\n|") and r"| `b` | a\|b |" in " ".join(said.split())
    assert "`b`" not in table(frame, "Numbers.", index=False)._repr_markdown_()


def test_heads_have_a_scope_and_numbers_stand_on_the_right():
    frame = pd.DataFrame({"$J$": ["1.5", "2e-5"], "share": ["5%", "-"], "words": ["7", "seven"]}, index=["a", "`b`"])
    html = table(frame, "Numbers.").data
    assert '<th scope="col" class="number"><span class="math notranslate nohighlight">\\(J\\)</span></th>' in html
    assert html.count('<td class="number">') == 4 and "<td>seven</td>" in html
    assert '<th scope="row"><code>b</code></th>' in html
    plain = table(frame, "Numbers.", index=False).data
    assert 'scope="row"' not in plain and plain.count('scope="col"') == 3


@pytest.mark.parametrize("index", [True, False])
def test_a_table_may_have_several_heads_a_row_or_none_at_all(index):
    frame = pd.DataFrame({"a": [1], "b": [2], "c": [3]}).set_index(["a", "b"])
    assert table(frame, "Two heads.", index=index).data.count("<td") == 1
    assert "<tbody></tbody>" in table(frame.iloc[:0], "Nothing.", index=index).data


def test_texts_may_be_marked():
    frame = pd.DataFrame({"verdict": ["**supported**"], "found": ["At w = 7 a<b.\n*1.5* by [these](criteria.html)"]})
    html = table(frame, "`gpu` scale.", index=False, places=["here"]).data
    assert "<caption><span><code>gpu</code> scale.</span></caption>" in html and '<tr id="here"><td>' in html
    assert (
        "<strong>supported</strong></td><td>At w\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}7 a&lt;b.<br><em>1.5</em>" in html
    )
    assert '<a href="criteria.html">these</a>' in html


def test_where_there_is_no_html_a_table_is_text():
    shown = table(pd.DataFrame({"a": ["1\n2"]}, index=pd.Index([3], name="b")), "One.")
    assert repr(shown) == shown._repr_markdown_()
    assert [line.replace(" ", "") for line in repr(shown).splitlines()[2:]] == ["|b|a|", "|-----|-----|", "|3|12|"]
    assert table("not measured", "Two.") == "not measured"
