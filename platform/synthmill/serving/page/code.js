// The request that the form stands for, as curl and Python; what a program sends to get what the page shows.

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

function python(value) {
  if (value === null) return "None";
  if (Array.isArray(value)) return `[${value.map(python).join(", ")}]`;
  if (typeof value === "object") return `{${Object.entries(value).map(([key, item]) => `${JSON.stringify(key)}: ${python(item)}`).join(", ")}}`;
  return JSON.stringify(value);
}

export function rowsCode(origin, ref, body, key, accept) {
  const url = `${origin}/v1/models/${ref}/rows`, arrow = "application/vnd.apache.arrow.stream";
  const sent = key ? ` \\\n  -H "Authorization: Bearer $SYNTHMILL_KEY"` : "";
  const curl = `curl ${url} --fail${sent} \\\n  -H "Content-Type: application/json" -H "Accept: ${accept.type}" \\\n  -d ${quoted(JSON.stringify(body))} -o rows.${accept.suffix}`;
  const headers = key ? `headers = {"Accept": "${arrow}", "Authorization": f"Bearer {os.environ['SYNTHMILL_KEY']}"}` : `headers = {"Accept": "${arrow}"}`;
  const imports = key ? "import os\n\nimport httpx\nimport pyarrow as pa" : "import httpx\nimport pyarrow as pa";
  return { curl, python: `${imports}\n\n${headers}\nanswer = httpx.post("${url}", json=${python(body)}, headers=headers, timeout=600)\nanswer.raise_for_status()\nrows = pa.ipc.open_stream(answer.content).read_pandas()` };
}

export function imagesCode(origin, body, key) {
  const sent = key ? ` \\\n  -H "Authorization: Bearer $SYNTHMILL_KEY"` : "";
  const curl = `curl ${origin}/v1/images/generations --fail${sent} \\\n  -H "Content-Type: application/json" -d ${quoted(JSON.stringify(body))}`;
  const { model, prompt, n, seed } = body;
  const extra = seed === undefined ? "" : `, extra_body={"seed": ${seed}}`;
  const secret = key ? `os.environ["SYNTHMILL_KEY"]` : `"none"`;
  const imports = `import base64\n${key ? "import os\n" : ""}\nfrom openai import OpenAI`;
  return { curl, python: `${imports}\n\nclient = OpenAI(base_url="${origin}/v1", api_key=${secret})\nanswer = client.images.generate(model=${python(model)}, prompt=${python(prompt)}, n=${n}${extra})\npng = base64.b64decode(answer.data[0].b64_json)` };
}
