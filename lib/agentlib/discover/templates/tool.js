#!/usr/bin/env node
// NAME - say what this tool does
//
// Reads one JSON object on standard input, {"text": TEXT}, and prints the answer.
'use strict'

const schema = {
  name: 'NAME',
  description: 'Say what this tool does',
  inputSchema: {
    type: 'object',
    properties: { text: { type: 'string', description: 'the text to work on' } },
    required: ['text'],
    additionalProperties: false
  },
  annotations: { readOnlyHint: true },
  examples: [{ request: 'Do it with: good morning', arguments: { text: 'good morning' } }]
}

function fail (status, why) {
  console.error(`NAME: ${why}`)
  process.exit(status)
}

const flags = process.argv.slice(2)
if (flags.length === 1 && flags[0] === '--agent-schema') {
  console.log(JSON.stringify(schema))
} else if (flags.length > 0) {
  fail(2, `unrecognized arguments: ${flags.join(' ')}`)
} else {
  let given
  try {
    given = JSON.parse(require('fs').readFileSync(0, 'utf8'))
  } catch {}
  if (typeof given?.text !== 'string') fail(100, 'give a text: {"text":"good morning"}')
  console.log(given.text)
}
