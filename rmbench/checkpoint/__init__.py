"""A Hugging Face model, opened: identity, configuration, text, weights, and what was found."""
