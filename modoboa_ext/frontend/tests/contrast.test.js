import { describe, expect, it } from 'vitest'
import { contrast, isColour } from '../src/contrast'
import { COLOURS, shortfall } from '../src/theme'

describe('contrast', () => {
  it('spans 1 to 21', () => {
    expect(contrast('#000000', '#ffffff')).toBeCloseTo(21)
    expect(contrast('#ffffff', '#ffffff')).toBeCloseTo(1)
  })

  it.each([
    ['#767676', 4.54],
    ['#777777', 4.48],
    ['#f2a33a', 2.12],
    ['#b3261e', 6.54],
  ])('of %s on white is what WCAG says', (colour, ratio) => {
    expect(contrast(colour, '#ffffff')).toBeCloseTo(ratio, 1)
  })

  it('warns about a primary colour that white text cannot be read on', () => {
    const [primary] = COLOURS
    expect(shortfall(primary, '#f2a33a').least).toBe(4.5)
    expect(shortfall(primary, '#b3261e')).toBeUndefined()
    expect(shortfall(primary, 'not yet typed')).toBeUndefined()
  })

  it.each(['#fff', 'red', '#12345g', '', null, '#1234567', ' #123456'])(
    'takes %j for no colour',
    (text) => expect(isColour(text)).toBe(false)
  )
})
