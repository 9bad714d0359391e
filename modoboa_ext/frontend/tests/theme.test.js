import { describe, expect, it } from 'vitest'
import { changes } from '../src/editing'
import { colourFault, effective, LARGEST_LOGO, logoFault } from '../src/theme'

const blank = { theme_primary_color: '', theme_secondary_color: null }

describe('a theme that is edited', () => {
  it('sends only what differs, a blank as null', () => {
    const saved = { ...blank, theme_label_color: '#111111' }
    const edited = { theme_primary_color: '#b3261e', theme_label_color: '' }
    expect(changes(saved, edited)).toEqual({
      theme_primary_color: '#b3261e',
      theme_label_color: null,
    })
    expect(changes(saved, { theme_label_color: '#111111' })).toEqual({})
  })

  it('shows the own value, else the inherited one', () => {
    const seen = effective(
      { theme_primary_color: '#046BF8', theme_label_color: '#616161' },
      { theme_primary_color: '#b3261e', theme_label_color: '' }
    )
    expect(seen.theme_primary_color).toBe('#b3261e')
    expect(seen.theme_label_color).toBe('#616161')
    expect(seen.theme_login_logo_url).toBe('')
  })

  it('refuses what is no colour and no picture, with a sentence', () => {
    expect(colourFault('#b3261e')).toBeUndefined()
    expect(colourFault('')).toBeUndefined()
    expect(colourFault('red')).toMatch(/#rrggbb/)
    expect(logoFault({ type: 'image/svg+xml', size: 10 })).toMatch(/PNG/)
    expect(logoFault({ type: 'image/png', size: LARGEST_LOGO + 1 })).toMatch(
      /1 MB/
    )
    expect(logoFault({ type: 'image/png', size: 10 })).toBeUndefined()
  })
})
