// Blanks of a text, `%{ name }`, filled with values; those without a value stay.
export const fill = (text, values = {}) =>
  text.replace(/%\{\s*(\w+)\s*\}/g, (whole, name) =>
    name in values ? values[name] : whole
  )
