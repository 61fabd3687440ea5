"""The verbs for jobs on a cluster: all that they show is made from the FinetuneJob as the API server holds it."""
