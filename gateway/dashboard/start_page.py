"""Get started: the lines to paste, with the visitor's own base URL."""

from gateway.dashboard.visit import Page, Place, Reply, Visit

MODEL = "black-forest-labs/flux-schnell"


class StartPage:
    """Answers `/dashboard/start`."""

    def places(self) -> tuple[Place, ...]:
        """Return the addresses."""
        return (Place("GET", "/start", self.show),)

    async def show(self, visit: Visit) -> Reply:
        """Show it."""
        return Page("start.html", {"snippets": snippets(visit.origin), "origin": visit.origin})


def first_lines(origin: str) -> str:
    """Return the lines that a shell takes, for pages that are still empty."""
    return snippets(origin)[0][2]


def snippets(origin: str) -> list[tuple[str, str, str]]:
    """Return (name, note, lines) for each way of calling the gateway."""
    base = f"{origin}/replicate"
    prompt = "a lighthouse at dawn"
    return [
        (
            "curl",
            "Any shell.",
            "export REPLICATE_API_TOKEN=hk-…   # your key\n"
            f"curl -s {base}/v1/models/{MODEL}/predictions \\\n"
            '  -H "Authorization: Bearer $REPLICATE_API_TOKEN" \\\n'
            '  -H "Content-Type: application/json" -H "Prefer: wait" \\\n'
            f'  -d \'{{"input": {{"prompt": "{prompt}"}}}}\'',
        ),
        (
            "Python",
            "The official client: pip install replicate",
            "import replicate\n\n"
            f'client = replicate.Client(base_url="{base}", api_token="hk-…")\n'
            f'output = client.run("{MODEL}", input={{"prompt": "{prompt}"}})\n'
            "print(output)",
        ),
        (
            "JavaScript",
            "The official client: npm install replicate",
            'import Replicate from "replicate";\n\n'
            f'const replicate = new Replicate({{ auth: "hk-…", baseUrl: "{base}/v1" }});\n'
            f'const output = await replicate.run("{MODEL}", {{\n'
            f'  input: {{ prompt: "{prompt}" }},\n'
            "});\n"
            "console.log(output);",
        ),
    ]
