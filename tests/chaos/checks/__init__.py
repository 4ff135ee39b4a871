"""The promises, by subject: each a function over the evidence that yields a sentence for every breach."""
