"""The works that a report may cite, and their numbering."""

from __future__ import annotations

REFERENCES = {
    "ridge": "Hoerl AE, Kennard RW (1970). Ridge regression: biased estimation for nonorthogonal problems. "
    "Technometrics 12, 55–67. doi:10.1080/00401706.1970.10488634",
    "rsa": "Kriegeskorte N, Mur M, Bandettini P (2008). Representational similarity analysis: "
    "connecting the branches "
    "of systems neuroscience. Frontiers in Systems Neuroscience 2, 4. doi:10.3389/neuro.06.004.2008",
    "rsa_ceiling": "Nili H, Wingfield C, Walther A, Su L, Marslen-Wilson W, Kriegeskorte N (2014). A "
    "toolbox for "
    "representational similarity analysis. PLoS Computational Biology 10, e1003553. "
    "doi:10.1371/journal.pcbi.1003553",
    "cka": "Kornblith S, Norouzi M, Lee H, Hinton G (2019). Similarity of neural network "
    "representations revisited. "
    "arXiv:1905.00414",
    "fdr": "Benjamini Y, Hochberg Y (1995). Controlling the false discovery rate. Journal of the "
    "Royal Statistical "
    "Society B 57, 289–300. doi:10.1111/j.2517-6161.1995.tb02031.x",
    "spearman_brown": "Spearman C (1910). Correlation calculated from faulty data. British Journal "
    "of Psychology 3, "
    "271–295. doi:10.1111/j.2044-8295.1910.tb00206.x; Brown W (1910), ibid. 296–322. "
    "doi:10.1111/j.2044-8295.1910.tb00207.x",
    "permutation": "Phipson B, Smyth GK (2010). Permutation P-values should never be zero. "
    "Statistical Applications in "
    "Genetics and Molecular Biology 9, 39. doi:10.2202/1544-6115.1585",
    "median_p": "Rüger B (1978). Das maximale Signifikanzniveau des Tests: „Lehne H0 ab, wenn k "
    "unter n gegebenen Tests "
    "zur Ablehnung führen“. Metrika 25, 171–178",
    "nested": "Varma S, Simon R (2006). Bias in error estimation when using cross-validation for "
    "model selection. "
    "BMC Bioinformatics 7, 91. doi:10.1186/1471-2105-7-91",
    "mds": "Torgerson WS (1952). Multidimensional scaling: I. Theory and method. Psychometrika 17, 401–419. "
    "doi:10.1007/BF02288916",
}


class Citations:
    """Numbers references in the order of their first use."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def __call__(self, text: str) -> str:
        if text not in self.texts:
            self.texts.append(text)
        return f" [{self.texts.index(text) + 1}]"

    def known(self, name: str) -> str:
        return self(REFERENCES[name])
