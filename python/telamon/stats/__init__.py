from ._vonmises_fisher import vonmises_fisher
