"""From judgements to numbers: credit, averages, intervals, analyses, and what could mislead."""
