"""Programming problems: data sets, statements and their examples, prompts, and the program in a model's answer."""
