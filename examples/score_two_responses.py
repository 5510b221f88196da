"""Score two responses to one prompt: what a reward model says about your own texts.

    python examples/score_two_responses.py             tiny, the small model in the package
    python examples/score_two_responses.py length      a rule: the longer response is better
    python examples/score_two_responses.py MODEL       any reward model, from the Hub or a folder

Prints the reward of each response, and which one the model prefers. tiny is made for trying things
out: it is fast and often wrong. The second response is the longer one, so that length is wrong.
"""

import sys

import rmbench

PROMPT = (rmbench.Message("user", "What can I cook with rice, eggs and peas?"),)
RESPONSES = [
    "Fried rice: fry cold cooked rice in hot oil, push it aside, scramble the eggs in the gap,"
    " then stir in the peas and a little soy sauce.",
    "There are many things that people cook. It depends on what you like, and what you like depends"
    " on you, so the best thing to cook is the thing that is best for you.",
]


def main(model: str) -> None:
    """Print each response after its reward, and the verdict."""
    scorer = rmbench.load_scorer(model)
    conversations = [rmbench.Conversation(PROMPT, response) for response in RESPONSES]
    # One reward per conversation, by its number; what was dropped as too long has none, which only
    # happens when it is asked for.
    ledger = rmbench.MemoryLedger()
    scorer.score(conversations, ledger)
    first, second = (ledger.answers[number] for number in range(2))
    print(f"{first:10.4f}  {RESPONSES[0]}\n{second:10.4f}  {RESPONSES[1]}\n")
    # A reward alone means nothing: only the difference of two, by one model and for one prompt.
    if first == second:
        print(f"{model} finds them equal")
    else:
        better = "first" if first > second else "second"
        print(f"{model} prefers the {better}, by {abs(first - second):.4f}")


if __name__ == "__main__":
    try:
        main(sys.argv[1] if len(sys.argv) > 1 else "tiny")
    except rmbench.RmbenchError as error:
        # What a user can fix is one line that says how; anything else is a bug.
        sys.exit(f"score_two_responses.py: {error}")
