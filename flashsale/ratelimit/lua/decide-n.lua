-- Decides several limits together: all binding ones pass and are charged, or none is. One round trip, O(limits).
-- KEYS  one for each limit
-- ARGV  1 'take'; 'peek'; 'fill': as many units up to the cost as possible; 'now': like fill, without units that must wait
--       2 cost  3 now in us, '' for Redis's clock
--       4.. for each limit a JSON list: code of the algorithm, 1 binding or 0 shadow, its parameters
-- Returns {units granted, now, then for each limit: passed, wait, remaining, retry after, reset after}
local algorithms = {token_bucket, leaky_bucket, sliding_log, sliding_counter}
local cost, now = tonumber(ARGV[2]), tonumber(ARGV[3])
-- With the caller's clock, a key must not expire by Redis's clock before it does by the caller's.
local grace = now and 3600000 or 0
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end
local limits = {}
for index = 1, #KEYS do
  local limit = cjson.decode(ARGV[index + 3])
  limits[index] = {algorithm = algorithms[limit[1]], binding = limit[2] == 1, p = limit}
end

local function read(units)
  local passed, fits = true, units
  for index, limit in ipairs(limits) do
    limit.reading, limit.write, limit.expire = limit.algorithm(KEYS[index], limit.p, units, now)
    if limit.binding and limit.reading[1] == 0 then
      passed = false
      fits = math.min(fits, limit.reading[3])
    end
  end
  return passed, fits
end

local passed, fits = read(cost)
local granted = passed and cost or 0
if not passed and (ARGV[1] == 'fill' or ARGV[1] == 'now') then
  -- If no unit fits, report when one unit will.
  read(math.max(fits, 1))
  granted = fits
end
for _, limit in ipairs(limits) do
  if ARGV[1] == 'now' and limit.binding and limit.reading[2] > 0 then granted = 0 end
end
local answer = {granted, now}
for _, limit in ipairs(limits) do
  for _, number in ipairs(limit.reading) do answer[#answer + 1] = number end
  if granted > 0 and ARGV[1] ~= 'peek' and limit.write then
    local last = limit.expire or limit.write
    last[#last] = last[#last] + grace
    redis.call(unpack(limit.write))
    if limit.expire then redis.call(unpack(limit.expire)) end
  end
end
return answer
