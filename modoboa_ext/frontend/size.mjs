// What the remote weighs on the wire, and that nothing in it belongs to the host: the build fails otherwise.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'

const BUDGET = 150 * 1000
// Every copy of Vue's runtime defines it. A second one, if newer, would replace the host's.
const VUE = '__v_isRef'
const built = fileURLToPath(new URL('../static/modoboa_ext', import.meta.url))

const files = readdirSync(built, { recursive: true })
  .filter((name) => /\.(js|css)$/.test(name))
  .map((name) => ({ name, content: readFileSync(join(built, name)) }))
const bytes = files
  .map(({ content }) => gzipSync(content).length)
  .reduce((sum, length) => sum + length, 0)
const intruders = files.filter(({ content }) => content.includes(VUE))

console.log(
  `${files.length} files, ${(bytes / 1000).toFixed(1)} kB gzipped of ${BUDGET / 1000} kB`
)
for (const { name } of intruders)
  console.error(
    `${name} carries its own Vue: is every shared library import: false?`
  )
process.exitCode = bytes > BUDGET || intruders.length ? 1 : 0
