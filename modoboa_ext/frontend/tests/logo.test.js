// @vitest-environment happy-dom
import { nextTick } from 'vue'
import { beforeEach, describe, expect, it, vi } from 'vitest'
import { LARGEST_LOGO, LOGOS } from '../src/theme'
import ThemeLogo from '../src/ThemeLogo.vue'
import { mounted } from './mounted'

const picture = (size = 3, type = 'image/png') =>
  new File(['x'.repeat(size)], 'logo.png', { type })

let taken
let page
const zone = () => page.querySelector('.zone')
const alert = () => page.querySelector('[role=alert]')?.textContent.trim()

async function drag(type, files = []) {
  const event = new Event(type, { bubbles: true, cancelable: true })
  event.dataTransfer = { files }
  zone().dispatchEvent(event)
  await nextTick()
  return event
}

beforeEach(async () => {
  taken = vi.fn()
  page = await mounted(ThemeLogo, {
    logo: LOGOS[0],
    'onUpdate:modelValue': taken,
  })
})

describe('a logo that is dropped', () => {
  it('is taken with a preview, and the browser does not open it', async () => {
    const file = picture()
    const event = await drag('drop', [file])
    expect(event.defaultPrevented).toBe(true)
    expect(taken).toHaveBeenCalledOnce()
    const [{ file: kept, url }] = taken.mock.lastCall
    expect(kept).toBe(file)
    expect(url).toMatch(/^blob:/)
    expect(alert()).toBeUndefined()
  })

  it.each([
    ['no picture', picture(3, 'text/html'), /PNG, JPEG, WebP or GIF/],
    ['too large', picture(LARGEST_LOGO + 1), /at most 1 MB/],
  ])('is refused with a sentence when it is %s', async (_, file, sentence) => {
    await drag('drop', [file])
    expect(taken).not.toHaveBeenCalled()
    expect(alert()).toMatch(sentence)
    await drag('drop', [picture()])
    expect(alert()).toBeUndefined()
  })

  it('changes nothing when what is dropped is not a file', async () => {
    await drag('drop')
    expect(taken).not.toHaveBeenCalled()
  })

  it('shows that the zone takes it while it hovers there', async () => {
    const event = await drag('dragover')
    expect(event.defaultPrevented).toBe(true)
    expect(zone().classList).toContain('over')
    await drag('dragleave')
    expect(zone().classList).not.toContain('over')
    await drag('dragover')
    await drag('drop', [picture()])
    expect(zone().classList).not.toContain('over')
  })
})
