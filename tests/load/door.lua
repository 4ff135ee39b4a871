-- wrk's side of `make bench-door`: sends prepared requests, one after the other, each thread its own part; prints a line of JSON.
-- Arguments: a file of requests, one a line as JSON-free fields: method, path, headers, body, with tabs between.
-- headers: name=value, with \1 between.
local count = 0
function setup(thread)
  thread:set("id", count)
  count = count + 1
  threads = count
end

function init(args)
  requests, at = {}, 0
  local number = 0
  local of = tonumber(args[2] or "1")
  for line in io.lines(args[1]) do
    if number % of == id % of then
      local method, path, headers, body = line:match("^([^\t]*)\t([^\t]*)\t([^\t]*)\t(.*)$")
      local named = {}
      for pair in headers:gmatch("[^\1]+") do
        local name, value = pair:match("^([^=]+)=(.*)$")
        named[name] = value
      end
      requests[#requests + 1] = wrk.format(method, path, named, body ~= "" and body or nil)
    end
    number = number + 1
  end
end

function request()
  at = at % #requests + 1
  return requests[at]
end

function done(summary, latency, requests)
  io.write(string.format(
    '{"requests": %d, "seconds": %.3f, "refused": %d, "failed": %d, "p50_ms": %.2f, "p99_ms": %.2f, "max_ms": %.2f}\n',
    summary.requests, summary.duration / 1e6, summary.errors.status,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000, latency.max / 1000))
end
