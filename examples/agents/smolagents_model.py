"""A smolagents model that is a generator in this process: no server. `agent(generator)` makes a CodeAgent of it."""

from smolagents import ChatMessage, CodeAgent, MessageRole, Model

from guided_gen import GuidedGenerator


class GuidedModel(Model):
    """Each step of the agent is one search; its best answer is what the model says."""

    def __init__(self, generator: GuidedGenerator, **settings):
        super().__init__(model_id=generator.loaded.identity.name)
        self.generator, self.settings = generator, settings

    def generate(self, messages, stop_sequences=None, **_):
        chat = [{"role": role(message), "content": text(message)} for message in messages]
        solution = self.generator.solve(chat, stop=stop_sequences or [], **self.settings)
        return ChatMessage(role=MessageRole.ASSISTANT, content=solution.best.text)


def role(message):
    """Chat templates know three roles; what a tool said is told by the user."""
    name = str(getattr(message.role, "value", message.role))
    return {"tool-call": "assistant", "tool-response": "user"}.get(name, name)


def text(message):
    content = message.content
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content or [])


def agent(generator: GuidedGenerator, **settings):
    return CodeAgent(tools=[], model=GuidedModel(generator, **settings), max_steps=3)


if __name__ == "__main__":
    print(agent(GuidedGenerator.from_pretrained(), n=4, max_new_tokens=200).run("What is the sum of the squares of 1 to 10?"))
