import { describe, expect, it } from 'vitest'
import { daysLeft, urgency } from '../src/certificate'

const NOW = Date.parse('2026-11-20T12:00:00Z')
const inDays = (n) => new Date(NOW + n * 86_400_000).toISOString()

describe('how urgent a certificate is', () => {
  it.each([
    ['of 90 days with 61 left', 61, 90, 'fine'],
    ['of 90 days with 29 left', 29, 90, 'due'],
    ['of 90 days with 9 left', 9, 90, 'urgent'],
    ['of 6 days with 5 left', 5, 6, 'fine'],
    ['of 6 days with 1 left', 1, 6, 'due'],
    ['that ended', -1, 90, 'expired'],
  ])('%s', (_, left, life, verdict) => {
    expect(urgency(inDays(left), inDays(left - life), NOW)).toBe(verdict)
  })

  it('counts whole days', () => {
    expect(daysLeft(inDays(61.9), NOW)).toBe(61)
  })
})
