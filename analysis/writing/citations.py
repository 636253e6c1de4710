"""Findings in, the publications whose methods they used out."""

from collections.abc import Iterator

from analysis.findings import Findings
from analysis.fool_rate import FoolRate
from analysis.margins import NEAR_THE_END, SKEWED_UNITS

# As they are cited in a text, and in full.
REFERENCES = {
    "bradley1952": (
        "Bradley & Terry, 1952",
        "Bradley, R. A. & Terry, M. E. (1952). Rank analysis of incomplete block designs: I. The method of paired "
        "comparisons. Biometrika 39, 324–345.",
    ),
    "cameron2011": (
        "Cameron, Gelbach & Miller, 2011",
        "Cameron, A. C., Gelbach, J. B. & Miller, D. L. (2011). Robust inference with multiway clustering. Journal of "
        "Business & Economic Statistics 29, 238–249.",
    ),
    "clopper1934": (
        "Clopper & Pearson, 1934",
        "Clopper, C. J. & Pearson, E. S. (1934). The use of confidence or fiducial limits illustrated in the case of the "
        "binomial. Biometrika 26, 404–413.",
    ),
    "cohen1960": (
        "Cohen, 1960",
        "Cohen, J. (1960). A coefficient of agreement for nominal scales. Educational and Psychological Measurement 20, "
        "37–46.",
    ),
    "efron1981": (
        "Efron & Stein, 1981",
        "Efron, B. & Stein, C. (1981). The jackknife estimate of variance. Annals of Statistics 9, 586–596.",
    ),
    "gao2017": (
        "Gao & Owen, 2017",
        "Gao, K. & Owen, A. (2017). Efficient moment calculations for variance components in large unbalanced crossed "
        "random effects models. Electronic Journal of Statistics 11, 1235–1296.",
    ),
    "hautus1995": (
        "Hautus, 1995",
        "Hautus, M. J. (1995). Corrections for extreme proportions and their biasing effects on estimated values of d′. "
        "Behavior Research Methods, Instruments, & Computers 27, 46–51.",
    ),
    "holm1979": (
        "Holm, 1979",
        "Holm, S. (1979). A simple sequentially rejective multiple test procedure. Scandinavian Journal of Statistics 6, "
        "65–70.",
    ),
    "kaernbach1991": (
        "Kaernbach, 1991",
        "Kaernbach, C. (1991). Simple adaptive testing with the weighted up-down method. Perception & Psychophysics 49, "
        "227–229.",
    ),
    "macmillan1985": (
        "Macmillan & Kaplan, 1985",
        "Macmillan, N. A. & Kaplan, H. L. (1985). Detection theory analysis of group data. Psychological Bulletin 98, "
        "185–199.",
    ),
    "macmillan2005": (
        "Macmillan & Creelman, 2005",
        "Macmillan, N. A. & Creelman, C. D. (2005). Detection theory: a user’s guide, 2nd ed. Erlbaum.",
    ),
    "mcnemar1947": (
        "McNemar, 1947",
        "McNemar, Q. (1947). Note on the sampling error of the difference between correlated proportions or percentages. "
        "Psychometrika 12, 153–157.",
    ),
    "owen2007": (
        "Owen, 2007",
        "Owen, A. B. (2007). The pigeonhole bootstrap. Annals of Applied Statistics 1, 386–411.",
    ),
    "polson2013": (
        "Polson, Scott & Windle, 2013",
        "Polson, N. G., Scott, J. G. & Windle, J. (2013). Bayesian inference for logistic models using Pólya–Gamma latent "
        "variables. Journal of the American Statistical Association 108, 1339–1349.",
    ),
    "robinson1991": (
        "Robinson, 1991",
        "Robinson, G. K. (1991). That BLUP is a good thing: the estimation of random effects. Statistical Science 6, 15–32.",
    ),
    "satterthwaite1946": (
        "Satterthwaite, 1946",
        "Satterthwaite, F. E. (1946). An approximate distribution of estimates of variance components. Biometrics Bulletin "
        "2, 110–114.",
    ),
    "schuirmann1987": (
        "Schuirmann, 1987",
        "Schuirmann, D. J. (1987). A comparison of the two one-sided tests procedure and the power approach for assessing "
        "the equivalence of average bioavailability. Journal of Pharmacokinetics and Biopharmaceutics 15, 657–680.",
    ),
    "wichmann2001": (
        "Wichmann & Hill, 2001",
        "Wichmann, F. A. & Hill, N. J. (2001). The psychometric function: I. Fitting, sampling, and goodness of fit. "
        "Perception & Psychophysics 63, 1293–1313.",
    ),
    "wilson1927": (
        "Wilson, 1927",
        "Wilson, E. B. (1927). Probable inference, the law of succession, and statistical inference. Journal of the "
        "American Statistical Association 22, 209–212.",
    ),
    "zhou2019": (
        "Zhou et al., 2019",
        "Zhou, S., Gordon, M. L., Krishna, R., Narcomey, A., Li, F.-F. & Bernstein, M. S. (2019). HYPE: a benchmark for "
        "human eye perceptual evaluation of generative models. Advances in Neural Information Processing Systems 32.",
    ),
}


def cite(key: str) -> str:
    return REFERENCES[key][0]


def references(findings: Findings) -> list[str]:
    """In full and in the alphabet's order: what the methods section of this report cites."""
    used = set(_used(findings))
    return [full for key, (_, full) in REFERENCES.items() if key in used]


def has_jackknife(rate: FoolRate) -> bool:
    """Whether a rate near 0 or 1 from few units had its variance compared with the jackknife's (``Margins.clusters``)."""
    is_near_an_end = not NEAR_THE_END <= rate.fool_rate <= 1 - NEAR_THE_END
    few = min(rate.n_participants, rate.n_pairs) <= SKEWED_UNITS
    return is_near_an_end and few and rate.interval.method == "two_way_logit_t"


def _used(findings: Findings) -> Iterator[str]:
    rates = findings.conditions
    if rates:
        yield from ("cameron2011", "wilson1927", "schuirmann1987", "macmillan2005")
        yield "hautus1995" if findings.is_one_picture else "macmillan1985"
    if any(rate.interval.method == "clopper_pearson" for rate in rates):
        yield "clopper1934"
    if any(has_jackknife(rate) for rate in rates):
        yield "efron1981"
    if any(rate.components for rate in rates):
        yield from ("gao2017", "robinson1991")
    if any(rate.bootstrap and rate.bootstrap.method == "two_way_bootstrap" for rate in rates):
        yield "owen2007"
    if any(rate.yes_no for rate in rates) or findings.settled:
        yield "zhou2019"
    if findings.comparisons:
        yield from ("holm1979", "satterthwaite1946")
    if any(found.mcnemar_chi2 is not None for found in findings.comparisons):
        yield "mcnemar1947"
    if findings.ranking:
        yield from ("bradley1952", "cameron2011")
    if findings.models:
        yield "polson2013"
    if findings.thresholds:
        yield "wichmann2001"
    if findings.design and findings.design.staircase:
        yield "kaernbach1991"
    if findings.consistency and findings.consistency.kappa is not None:
        yield "cohen1960"
