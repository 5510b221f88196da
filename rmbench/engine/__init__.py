"""Token ids in, numbers out, on a device; knows no suites and no tokenizers."""
