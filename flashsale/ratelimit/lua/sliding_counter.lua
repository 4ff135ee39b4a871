-- Part of a script: the twin of sliding_counter.py. p: code, binding, limit, window us, sub-limit, sub-window us.
-- The key is a string of one or two triples: start of the window, its count, the count of the window before.
local function sliding_counter(key, p, cost, now)
  local stored, kept = {}, {}
  for number in (redis.call('GET', key) or ''):gmatch('%d+') do stored[#stored + 1] = tonumber(number) end
  local late = false
  -- A window in the future was started before the clock was set back.
  for index = 1, #stored, 3 do
    local begin = now - now % (index == 1 and p[4] or p[6])
    if stored[index] > begin then
      stored[index], late = begin, true
    end
  end
  if late then
    local numbers = {}
    for index, number in ipairs(stored) do numbers[index] = string.format('%.0f', number) end
    redis.call('SET', key, table.concat(numbers, ' '), 'KEEPTTL')
  end

  local function room(limit, window, index)
    local start, current, previous = stored[index] or 0, stored[index + 1] or 0, stored[index + 2] or 0
    local begin = now - now % window
    if start == begin - window then
      current, previous = 0, current
    elseif start < begin then
      current, previous = 0, 0
    end
    local elapsed = now - begin
    local fits = math.max(0, math.floor(((limit - current) * window - previous * (window - elapsed)) / window))
    local retry = 0
    if fits < cost then
      if current + cost <= limit then
        retry = window - math.floor((limit - current - cost) * window / previous) - elapsed
      else
        retry = window - elapsed + math.max(0, window - math.floor((limit - cost) * window / current))
      end
    end
    kept[#kept + 1] = string.format('%.0f %.0f %.0f', begin, current + cost, previous)
    local reset = current > 0 and 2 * window - elapsed or previous > 0 and window - elapsed or 0
    return fits, retry, reset
  end
  local fits, retry, reset = room(p[3], p[4], 1)
  if p[5] > 0 then
    local sub_fits, sub_retry = room(p[5], p[6], 4)
    fits, retry = math.min(fits, sub_fits), math.max(retry, sub_retry)
  end
  if retry > 0 then return {0, 0, fits, retry, reset} end
  reset = 2 * p[4] - now % p[4]
  return {1, 0, fits - cost, 0, reset}, {'SET', key, table.concat(kept, ' '), 'PX', math.ceil(reset / 1000)}
end
