#!/usr/bin/env python3
"""tests/api/test_clients.py BINARY GOLDEN [--fetch DIR] - real clients against a running server: openai, anthropic,
ollama, langchain-openai, litellm, as far as they are installed; with --fetch those of the versions below, fetched once
by pip from PyPI into DIR and left there. What answers must hold is forced by grammars, so that contents can be checked
on models of random weights.

Closing line: N passed, N failed, N skipped.
"""

import json
import os
import subprocess
import sys
import tempfile

from server import Count, Server

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # litellm would fetch it
CLIENTS = [
    "openai==2.54.0",
    "anthropic==2.12.0",
    "ollama==0.6.3",
    "langchain-openai==1.7.3",
    "litellm==1.106.2",
    "mcp==2.3.0",
]
count = Count()
check = count.check
SCHEMA = {
    "type": "object",
    "properties": {"city": {"enum": ["Paris", "Rome"]}, "warm": {"type": "boolean"}},
    "required": ["city", "warm"],
    "additionalProperties": False,
}
TOOL = {"type": "function", "function": {"name": "get_weather", "description": "of a city", "parameters": SCHEMA}}
NOW = {
    "type": "function",
    "function": {"name": "now", "parameters": {"type": "object", "properties": {}, "additionalProperties": False}},
}
HELLO = [{"role": "user", "content": "Hello"}]


def is_weather(text):
    v = json.loads(text) if isinstance(text, str) else text
    return v.get("city") in ("Paris", "Rome") and isinstance(v.get("warm"), bool) and len(v) == 2


def fetch(folder):
    """The clients into a folder named after their versions, which is there whole or not at all."""
    os.makedirs(folder, exist_ok=True)
    site = os.path.join(folder, "clients-" + "-".join(c.split("==")[1] for c in CLIENTS))
    if not os.path.isdir(site):
        with tempfile.TemporaryDirectory(dir=folder) as tmp:
            pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "install", "--target"]
            subprocess.run(pip + [tmp + "/site"] + CLIENTS, check=True)
            os.rename(tmp + "/site", site)
    sys.path.insert(0, site)


def client_of(name):
    try:
        return __import__(name)
    except ImportError:
        count.skip(name, "not installed")
        return None


def test_openai(s):
    openai = client_of("openai")
    if not openai:
        return
    c = openai.OpenAI(base_url=s.url + "/v1", api_key="none", max_retries=0, timeout=60)
    check("openai models", {m.id for m in c.models.list()} >= {"plain", "tools", "bert"})
    check("openai model", c.models.retrieve("tools").id == "tools")
    r = c.chat.completions.create(model="plain", messages=HELLO, max_tokens=12, temperature=0, seed=1)
    check("openai chat", r.usage.completion_tokens <= 12 and r.choices[0].finish_reason in ("stop", "length"), r)
    parts = list(
        c.chat.completions.create(
            model="plain",
            messages=HELLO,
            max_tokens=12,
            temperature=0,
            seed=1,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    text = "".join(p.choices[0].delta.content or "" for p in parts if p.choices)
    check("openai stream equals whole", text == r.choices[0].message.content, (text, r.choices[0].message.content))
    check("openai stream usage", parts[-1].usage.completion_tokens == r.usage.completion_tokens, parts[-1])
    r = c.chat.completions.create(
        model="tools",
        messages=HELLO,
        max_tokens=600,
        response_format={"type": "json_schema", "json_schema": {"name": "w", "strict": True, "schema": SCHEMA}},
    )
    check("openai json_schema", is_weather(r.choices[0].message.content), r)
    r = c.chat.completions.create(
        model="tools",
        messages=HELLO,
        tools=[TOOL, NOW],
        max_tokens=800,
        tool_choice={"type": "function", "function": {"name": "get_weather"}},
        parallel_tool_calls=False,
    )
    calls = r.choices[0].message.tool_calls
    check(
        "openai named tool",
        len(calls) == 1
        and calls[0].function.name == "get_weather"
        and is_weather(calls[0].function.arguments)
        and r.choices[0].finish_reason == "tool_calls",
        r,
    )
    r = c.chat.completions.create(
        model="tools",
        messages=HELLO,
        tools=[TOOL, NOW],
        max_tokens=1500,
        tool_choice="required",
        seed=3,
        temperature=0.7,
        parallel_tool_calls=False,
    )
    check("openai required tool", r.choices[0].message.tool_calls[0].function.name in ("get_weather", "now"), r)
    with c.chat.completions.stream(
        model="tools", messages=HELLO, tools=[TOOL], max_tokens=800, tool_choice="required", parallel_tool_calls=False
    ) as stream:
        final = stream.get_final_completion()
    call = final.choices[0].message.tool_calls[0]
    check("openai streamed tool", call.function.name == "get_weather" and is_weather(call.function.arguments), final)
    r = c.chat.completions.create(model="tools", messages=HELLO, tools=[TOOL], tool_choice="none", max_tokens=5)
    check("openai tool none", not r.choices[0].message.tool_calls)
    r = c.chat.completions.create(
        model="tools",
        max_tokens=4,
        tools=[TOOL],
        messages=HELLO
        + [
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {
                        "id": "call_1",
                        "type": "function",
                        "function": {"name": "get_weather", "arguments": '{"city":"Rome","warm":true}'},
                    }
                ],
            },
            {"role": "tool", "tool_call_id": "call_1", "content": "20 degrees"},
        ],
    )
    check("openai tool result", r.usage.prompt_tokens > 50)
    r = c.chat.completions.create(
        model="plain", messages=HELLO, max_tokens=6, logprobs=True, top_logprobs=3, n=2, extra_body={"ignore_eos": True}
    )
    ok = all(len(x.logprobs.content) >= 5 and len(x.logprobs.content[0].top_logprobs) == 3 for x in r.choices)
    check("openai logprobs, n", ok and len(r.choices) == 2, r)
    top = r.choices[0].logprobs.content[0].top_logprobs
    check("openai logprobs order", top[0].logprob >= top[1].logprob >= top[2].logprob)
    r = c.completions.create(
        model="plain", prompt="Hello", max_tokens=6, logprobs=2, echo=True, extra_body={"ignore_eos": True}
    )
    check("openai completions", r.choices[0].text.startswith("Hello") and len(r.choices[0].logprobs.tokens) == 6, r)
    one = c.embeddings.create(model="bert", input=["hello", "world"])  # asks for base64 by itself
    two = c.embeddings.create(model="bert", input=["hello", "world"], encoding_format="float")
    check(
        "openai embeddings",
        len(one.data) == 2
        and all(abs(a - b) < 1e-7 for x, y in zip(one.data, two.data) for a, b in zip(x.embedding, y.embedding)),
    )
    check("openai embedding length", abs(sum(a * a for a in one.data[0].embedding) - 1) < 1e-4)
    check("openai dimensions", len(c.embeddings.create(model="bert", input="x", dimensions=5).data[0].embedding) == 5)
    for name, error, ask in (
        ("unknown model", openai.NotFoundError, {"model": "nothing", "messages": HELLO}),
        ("wrong type", openai.BadRequestError, {"model": "plain", "messages": "Hello"}),
        (
            "image",
            openai.BadRequestError,
            {
                "model": "plain",
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}],
                    }
                ],
            },
        ),
        (
            "too long",
            openai.BadRequestError,
            {"model": "plain", "messages": [{"role": "user", "content": "word " * 5000}]},
        ),
        (
            "schema",
            openai.BadRequestError,
            {
                "model": "plain",
                "messages": HELLO,
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "x", "schema": {"type": "object", "unheardOf": 1}},
                },
            },
        ),
        ("too many", openai.BadRequestError, {"model": "plain", "messages": HELLO, "n": 9999}),
    ):
        try:
            c.chat.completions.create(**ask)
            check("openai " + name, False, "no error")
        except error:
            check("openai " + name, True)
    if not hasattr(c, "responses"):
        return
    r = c.responses.create(
        model="tools",
        input="Hello",
        max_output_tokens=600,
        text={"format": {"type": "json_schema", "name": "w", "schema": SCHEMA}},
    )
    check("openai responses", is_weather(r.output_text) and r.status == "completed", r)
    again = c.responses.create(model="tools", input="And?", previous_response_id=r.id, max_output_tokens=4)
    check("openai responses goes on", again.usage.input_tokens > r.usage.input_tokens, again)
    check("openai responses retrieve", c.responses.retrieve(r.id).output_text == r.output_text)
    with c.responses.stream(
        model="tools",
        input="Hello",
        max_output_tokens=800,
        tools=[{"type": "function", **TOOL["function"]}],
        tool_choice="required",
        parallel_tool_calls=False,
    ) as stream:
        kinds = [e.type for e in stream]
        final = stream.get_final_response()
    call = [o for o in final.output if o.type == "function_call"]
    check("openai responses stream", call and is_weather(call[0].arguments), (kinds[-3:], final))


def test_anthropic(s):
    anthropic = client_of("anthropic")
    if not anthropic:
        return
    c = anthropic.Anthropic(base_url=s.url, api_key="none", max_retries=0, timeout=60)
    tool = {"name": "get_weather", "description": "of a city", "input_schema": SCHEMA}
    r = c.messages.create(model="plain", max_tokens=8, messages=HELLO, system="Be brief")
    check("anthropic messages", r.role == "assistant" and r.usage.output_tokens <= 8, r)
    r = c.messages.create(
        model="tools",
        max_tokens=800,
        messages=HELLO,
        tools=[tool],
        tool_choice={"type": "tool", "name": "get_weather", "disable_parallel_tool_use": True},
    )
    block = [b for b in r.content if b.type == "tool_use"][0]
    check("anthropic tool", is_weather(block.input) and r.stop_reason == "tool_use", r)
    with c.messages.stream(
        model="tools",
        max_tokens=800,
        messages=HELLO,
        tools=[tool],
        tool_choice={"type": "any", "disable_parallel_tool_use": True},
    ) as stream:
        kinds = [e.type for e in stream]
        final = stream.get_final_message()
    check("anthropic stream", kinds[0] == "message_start" and kinds[-1] == "message_stop", kinds)
    check("anthropic streamed tool", is_weather([b for b in final.content if b.type == "tool_use"][0].input), final)
    r = c.messages.create(
        model="tools",
        max_tokens=4,
        tools=[tool],
        messages=HELLO
        + [
            {
                "role": "assistant",
                "content": [
                    {"type": "text", "text": "Let me look"},
                    {"type": "tool_use", "id": block.id, "name": "get_weather", "input": block.input},
                ],
            },
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": block.id, "content": "20 degrees"}]},
        ],
    )
    check("anthropic tool result", r.usage.input_tokens + r.usage.cache_read_input_tokens > 50, r)
    r = c.messages.create(
        model="tools", max_tokens=12, messages=HELLO, thinking={"type": "enabled", "budget_tokens": 1024}
    )
    check("anthropic thinking", r.content and r.content[0].type == "thinking", r)
    n = c.messages.count_tokens(model="plain", messages=HELLO).input_tokens
    r = c.messages.create(model="plain", max_tokens=1, messages=HELLO)
    check("anthropic count", n == r.usage.input_tokens + r.usage.cache_read_input_tokens, (n, r.usage))
    check("anthropic models", "plain" in {m.id for m in c.models.list()})
    try:
        c.messages.create(model="nothing", max_tokens=1, messages=HELLO)
        check("anthropic unknown model", False)
    except anthropic.NotFoundError:
        check("anthropic unknown model", True)


def test_ollama(s):
    ollama = client_of("ollama")
    if not ollama:
        return
    c = ollama.Client(host=s.url)
    check("ollama list", "plain" in {m.model for m in c.list().models})
    check("ollama ps", "plain" in {m.model for m in c.ps().models})
    check("ollama show", "tools" in c.show("tools").capabilities and "embedding" in c.show("bert").capabilities)
    o = {"num_predict": 8, "temperature": 0, "seed": 1}
    r = c.generate("plain", "Hello", options=o)
    text = "".join(p.response for p in c.generate("plain", "Hello", options=o, stream=True))
    check("ollama generate", r.done and r.eval_count <= 8 and text == r.response, r)
    r = c.chat("plain", HELLO, options=o)
    parts = list(c.chat("plain", HELLO, options=o, stream=True))
    check("ollama chat", "".join(p.message.content for p in parts) == r.message.content and parts[-1].done, r)
    r = c.chat("tools", HELLO, format=SCHEMA, options={"num_predict": 600})
    check("ollama format", is_weather(r.message.content), r)
    r = c.chat("tools", HELLO, tools=[TOOL], think=True, options={"num_predict": 12})
    check("ollama thinking", r.message.thinking, r)
    e = c.embed("bert", ["hello", "world"])
    check("ollama embed", len(e.embeddings) == 2 and abs(sum(x * x for x in e.embeddings[0]) - 1) < 1e-4)
    old = c.embeddings("bert", "hello")
    check("ollama embeddings", all(abs(a - b) < 1e-6 for a, b in zip(old.embedding, e.embeddings[0])))
    r = c.generate("plain")
    check("ollama load", r.done and r.done_reason == "load", r)
    for name, fn in (
        ("pull", lambda: c.pull("x")),
        ("push", lambda: c.push("x")),
        ("delete without an admin's key", lambda: c.delete("plain")),
        ("copy without an admin's key", lambda: c.copy("plain", "copied")),
        ("unknown model", lambda: c.chat("nothing", HELLO)),
    ):
        try:
            fn()
            check("ollama " + name, False, "no error")
        except ollama.ResponseError as e:
            check("ollama " + name, e.status_code in (401, 403, 404, 501), e)


def test_langchain(s):
    if not client_of("langchain_openai"):
        return
    from langchain_openai import ChatOpenAI, OpenAIEmbeddings

    c = ChatOpenAI(base_url=s.url + "/v1", api_key="none", model="tools", max_tokens=800, max_retries=0)
    r = c.with_structured_output({"title": "weather", **SCHEMA}, method="json_schema").invoke("Hello")
    check("langchain json_schema", is_weather(r), r)
    r = c.bind_tools([TOOL], tool_choice="get_weather", parallel_tool_calls=False).invoke("Hello")
    check("langchain tools", r.tool_calls and is_weather(r.tool_calls[0]["args"]), r)
    text = "".join(str(p.content) for p in c.bind(max_tokens=6).stream("Hello"))
    check("langchain stream", isinstance(text, str))
    e = OpenAIEmbeddings(base_url=s.url + "/v1", api_key="none", model="bert", check_embedding_ctx_length=False)
    check("langchain embeddings", len(e.embed_query("hello")) == len(e.embed_documents(["a", "b"])[1]))


def test_litellm(s):
    litellm = client_of("litellm")
    if not litellm:
        return
    litellm.suppress_debug_info = True
    for model, base in (("openai/tools", s.url + "/v1"), ("ollama_chat/tools", s.url)):
        r = litellm.completion(model=model, api_base=base, api_key="none", messages=HELLO, max_tokens=8)
        check("litellm " + model, r.usage.completion_tokens <= 8 and r.choices[0].finish_reason, r)
    r = litellm.completion(
        model="openai/tools",
        api_base=s.url + "/v1",
        api_key="none",
        messages=HELLO,
        max_tokens=800,
        tools=[TOOL],
        parallel_tool_calls=False,
        tool_choice={"type": "function", "function": {"name": "get_weather"}},
    )
    check("litellm tools", is_weather(r.choices[0].message.tool_calls[0].function.arguments), r)


def main():
    if sys.argv[3:4] == ["--fetch"]:
        fetch(sys.argv[4])
    s = Server(sys.argv[1], sys.argv[2])
    for fn in (test_openai, test_anthropic, test_ollama, test_langchain, test_litellm):
        count.run(fn.__name__, lambda: fn(s))
    check("the server ends well", s.close() == 0)
    sys.exit(count.close())


main()
