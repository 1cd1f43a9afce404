-- For wrk: send the requests of a file in turn, and print what was counted as one line of JSON.
-- The file holds whole requests, each followed by a line "%%".
local requests, at = {}, 0

function init(arguments)
  local file = assert(io.open(arguments[1], "rb"))
  local text = file:read("*a")
  file:close()
  for each in text:gmatch("(.-)%%%%\n") do
    requests[#requests + 1] = each
  end
end

function request()
  at = at % #requests + 1
  return requests[at]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    'HITS {"requests": %d, "us": %d, "p50": %.1f, "p99": %.1f, "status": %d, "connect": %d, "read": %d, "write": %d, "timeout": %d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.status, errors.connect, errors.read, errors.write, errors.timeout))
end
