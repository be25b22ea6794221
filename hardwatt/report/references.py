"""The references of the statistics that a page uses, as BibTeX."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from hardwatt.analysis.model import Results
from hardwatt.analysis.tables.model import TableResults

_ENTRIES: Final = {
    "student1908": ("Student", "The probable error of a mean", "Biometrika", 1908, 6, "1", "1--25"),
    "welch1947": (
        "Welch, B. L.",
        "The generalization of `{Student's}' problem when several different population variances are involved",
        "Biometrika", 1947, 34, "1--2", "28--35",
    ),
    "welch1951": (
        "Welch, B. L.", "On the comparison of several mean values: an alternative approach",
        "Biometrika", 1951, 38, "3--4", "330--336",
    ),
    "satterthwaite1946": (
        "Satterthwaite, F. E.", "An approximate distribution of estimates of variance components",
        "Biometrics Bulletin", 1946, 2, "6", "110--114",
    ),
    "mann1947": (
        "Mann, H. B. and Whitney, D. R.",
        "On a test of whether one of two random variables is stochastically larger than the other",
        "The Annals of Mathematical Statistics", 1947, 18, "1", "50--60",
    ),
    "hodges1963": (
        "Hodges, J. L. and Lehmann, E. L.", "Estimates of location based on rank tests",
        "The Annals of Mathematical Statistics", 1963, 34, "2", "598--611",
    ),
    "cliff1993": (
        "Cliff, Norman", "Dominance statistics: ordinal analyses to answer ordinal questions",
        "Psychological Bulletin", 1993, 114, "3", "494--509",
    ),
    "feng2004": (
        "Feng, Du and Cliff, Norman", "{Monte Carlo} evaluation of ordinal d with improved confidence interval",
        "Journal of Modern Applied Statistical Methods", 2004, 3, "2", "322--332",
    ),
    "hedges1981": (
        "Hedges, Larry V.", "Distribution theory for {Glass's} estimator of effect size and related estimators",
        "Journal of Educational Statistics", 1981, 6, "2", "107--128",
    ),
    "kruskal1952": (
        "Kruskal, William H. and Wallis, W. Allen", "Use of ranks in one-criterion variance analysis",
        "Journal of the American Statistical Association", 1952, 47, "260", "583--621",
    ),
    "wilcoxon1945": (
        "Wilcoxon, Frank", "Individual comparisons by ranking methods", "Biometrics Bulletin", 1945, 1, "6", "80--83",
    ),
    "pratt1959": (
        "Pratt, John W.", "Remarks on zeros and ties in the {Wilcoxon} signed rank procedures",
        "Journal of the American Statistical Association", 1959, 54, "287", "655--667",
    ),
    "holm1979": (
        "Holm, Sture", "A simple sequentially rejective multiple test procedure",
        "Scandinavian Journal of Statistics", 1979, 6, "2", "65--70",
    ),
    "schuirmann1987": (
        "Schuirmann, Donald J.",
        "A comparison of the two one-sided tests procedure and the power approach for assessing the equivalence of "
        "average bioavailability",
        "Journal of Pharmacokinetics and Biopharmaceutics", 1987, 15, "6", "657--680",
    ),
    "hall1988": (
        "Hall, Peter", "Theoretical comparison of bootstrap confidence intervals",
        "The Annals of Statistics", 1988, 16, "3", "927--953",
    ),
    "dwass1957": (
        "Dwass, Meyer", "Modified randomization tests for nonparametric hypotheses",
        "The Annals of Mathematical Statistics", 1957, 28, "1", "181--187",
    ),
    "grizzle1965": (
        "Grizzle, James E.", "The two-period change-over design and its use in clinical trials",
        "Biometrics", 1965, 21, "2", "467--480",
    ),
    "sen1968": (
        "Sen, Pranab Kumar", "Estimates of the regression coefficient based on {Kendall's} tau",
        "Journal of the American Statistical Association", 1968, 63, "324", "1379--1389",
    ),
    "kunsch1989": (
        'K{\\"u}nsch, Hans R.', "The jackknife and the bootstrap for general stationary observations",
        "The Annals of Statistics", 1989, 17, "3", "1217--1241",
    ),
    "newey1987": (
        "Newey, Whitney K. and West, Kenneth D.",
        "A simple, positive semi-definite, heteroskedasticity and autocorrelation consistent covariance matrix",
        "Econometrica", 1987, 55, "3", "703--708",
    ),
    "patterson1971": (
        "Patterson, H. D. and Thompson, R.", "Recovery of inter-block information when block sizes are unequal",
        "Biometrika", 1971, 58, "3", "545--554",
    ),
    "friedman1937": (
        "Friedman, Milton",
        "The use of ranks to avoid the assumption of normality implicit in the analysis of variance",
        "Journal of the American Statistical Association", 1937, 32, "200", "675--701",
    ),
    "harris2020": (
        "Harris, Charles R. and Millman, K. Jarrod and van der Walt, St{\\'e}fan J. and others",
        "Array programming with {NumPy}", "Nature", 2020, 585, "7825", "357--362",
    ),
    "virtanen2020": (
        "Virtanen, Pauli and Gommers, Ralf and Oliphant, Travis E. and others",
        "{SciPy} 1.0: fundamental algorithms for scientific computing in {Python}",
        "Nature Methods", 2020, 17, "3", "261--272",
    ),
}  # fmt: skip

_RANKS: Final = ("hodges1963", "wilcoxon1945")
_METHODS: Final = {"bootstrap": ("hall1988",), "signed": _RANKS}
"""Word in the method of the primary estimate -> keys."""
_ROBUST: Final = {
    "Hodges-Lehmann": _RANKS,
    "Studentised bootstrap": ("hall1988",),
    "Sign flips": ("dwass1957",),
    "Wilcoxon": ("wilcoxon1945", "pratt1959"),
    "Estimate without the effect of the place": ("grizzle1965",),
    "Trend of the differences": ("sen1968",),
    "Block bootstrap": ("kunsch1989",),
    "Newey-West interval": ("newey1987",),
}
"""Name under robustness -> keys."""


def used(results: TableResults) -> list[str]:
    """Return the keys of the statistics that the results have."""
    return list(dict.fromkeys(_used(results)))


def _used(results: TableResults) -> Iterator[str]:
    yield "hardwatt"
    headline = results.contrasts[0]
    if results.design.paired:
        yield "student1908"
        if headline.rank:
            yield from ("hodges1963", "wilcoxon1945", "pratt1959")
    else:
        yield "welch1947"
        if len(headline.strata) > 1:
            yield "satterthwaite1946"
        if headline.shift:
            yield from ("mann1947", "hodges1963", "cliff1993", "feng2004")
        if headline.size:
            yield "hedges1981"
    names = {row.name for row in results.together}
    for name, key in (("Welch's one-way", "welch1951"), ("Kruskal-Wallis", "kruskal1952")):
        if name in names:
            yield key
    if len(results.contrasts) > 1:
        yield "holm1979"
    if results.equivalence:
        yield "schuirmann1987"
    yield from ("harris2020", "virtanen2020")


def of_bundle(results: Results) -> list[str]:
    """Return the keys of the statistics that the results of a bundle have."""
    return list(dict.fromkeys(_of_bundle(results)))


def _of_bundle(results: Results) -> Iterator[str]:
    yield "hardwatt"
    yield "student1908"
    for word, keys in _METHODS.items():
        if word in results.primary.method:
            yield from keys
    for row in results.robustness:
        if row.figure.value is not None:
            yield from _ROBUST.get(row.name, ())
    if several := results.several:
        if any(row.p for row in several.contrasts):
            yield from ("dwass1957", "holm1979")
        if any(row.mixed for row in several.contrasts):
            yield "patterson1971"
        if several.friedman:
            yield "friedman1937"
    if any(row.p for row in results.secondaries):
        yield from ("dwass1957", "holm1979")
    if results.equivalence:
        yield "schuirmann1987"
    yield from ("harris2020", "virtanen2020")


def bibtex(keys: Sequence[str], version: str) -> str:
    """Return the entries of *keys*, and of hardwatt with its *version*."""
    made = [f"@software{{hardwatt,\n  title = {{hardwatt}},\n  version = {{{version}}}\n}}\n"]
    for key in keys:
        if key in _ENTRIES:
            author, title, journal, year, volume, number, pages = _ENTRIES[key]
            fields = {
                "author": author, "title": title, "journal": journal, "year": year, "volume": volume,
                "number": number, "pages": pages,
            }  # fmt: skip
            body = ",\n".join(f"  {name} = {{{value}}}" for name, value in fields.items())
            made.append(f"@article{{{key},\n{body}\n}}\n")
    return "\n".join(made)
