// Rewrites every *.lua of lua/ and tests/ in the layout of stylua.toml; --check only names the files that differ.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";

const stylua = createRequire(import.meta.url)("@johnnymorganz/stylua");
const toml = readFileSync(new URL("../stylua.toml", import.meta.url), "utf8");
const ENUMS = { indent_type: "IndentType", quote_style: "QuoteStyle", line_endings: "LineEndings" };

function configured() {
  const config = stylua.Config.new();
  for (const [, name, value] of toml.matchAll(/^(\w+) = "?(\w+)"?$/gm)) {
    config[name] = name in ENUMS ? stylua[ENUMS[name]][value] : Number(value);
  }
  return config;
}

function sources(folder) {
  const base = new URL(`../${folder}/`, import.meta.url);
  return readdirSync(base, { recursive: true })
    .filter((name) => name.endsWith(".lua") && !name.includes("node_modules"))
    .map((name) => new URL(name, base));
}

function differing(file) {
  const before = readFileSync(file, "utf8");
  const after = stylua.formatCode(before, configured(), undefined, stylua.OutputVerification.None);
  return before === after ? null : { file, after };
}

const check = process.argv.includes("--check");
const found = ["lua", "tests"].flatMap(sources).map(differing).filter(Boolean);
for (const { file, after } of found) {
  console.log(`${check ? "not formatted" : "formatted"}: ${file.pathname}`);
  if (!check) writeFileSync(file, after);
}
process.exit(check && found.length ? 1 : 0);
