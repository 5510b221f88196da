"""From comparisons to judgements: what each comparison was given, kept and read back."""
