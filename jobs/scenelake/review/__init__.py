"""Review: people look at scenes that were held back, and decide.

Takes rows of ``quarantine`` of the newest release, their evidence documents, and answers from Airflow's review page,
its form or the command line. Gives decisions in the ledger (``contracts.reviews``), pictures beside the evidence, and
the drives that are to be built again because of them.

Guarantees: a revision of a scene is decided once, whoever is first; a decision takes effect by building the drive again
and by nothing else; text from recordings is never markup.
"""
