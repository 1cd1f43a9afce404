-- One exchange about places at HOSP: a worker says what it holds and could use, and takes or gives back.
-- KEYS: head, places, members, breaker. ARGV from 3 on: member, keep, need, opinion, ceiling, live_ms, linger_ms, settle_ms,
-- vanished_ms, turn_ms, channel, breaker's state ('' where nothing is known), its age in ms, leaving, names of those known before.
--
-- places has for each member "quota need opinion seen gone got epoch", and under ":life" "epoch since held". It is one
-- key, so what is evicted is all of it, and then all say again what they hold.
local epoch, me = ARGV[1], ARGV[3]
local keep, need, opinion, ceiling = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local live_ms, linger_ms, settle_ms = tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])
local vanished_ms, turn_ms, channel = tonumber(ARGV[11]), tonumber(ARGV[12]), ARGV[13]

local all, life, since, held, gone = {}, nil, nil, nil, {}
-- More than there can be workers, or of another kind: somebody has filled it by hand.
local many = redis.pcall('HLEN', KEYS[2])
local broken = type(many) ~= 'number' or many > 1000
local raw = broken and {} or redis.call('HGETALL', KEYS[2])
for i = 1, #raw, 2 do
  if raw[i] == ':life' then
    life, since, held = string.match(raw[i + 1], '^(%S+) (%d+) (-?%d+)$')
    -- No moment is later than now, unless this server's clock was set back.
    since, held = since and math.min(now, tonumber(since)), tonumber(held)
  else
    local q, n, o, s, d, g, of = string.match(raw[i + 1], '^(%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%S+)$')
    if q then
      all[raw[i]] = { quota = tonumber(q), need = tonumber(n), opinion = tonumber(o), seen = math.min(now, tonumber(s)),
        dead = math.min(now, tonumber(d)), got = math.min(now, tonumber(g)), of = of }
    else broken = true end
  end
end
if broken or not since then
  if #raw > 0 or broken then redis.call('DEL', KEYS[2]) end
  all, life = {}, nil
end
-- A new life of what is kept here: how many places are in use is known only from those who say so. Until all who had some
-- have come back no more are handed out than those have brought along (held); -1: all are accounted for.
if life ~= epoch then life, since, held = epoch, now, 0 end

local mine = all[me]
if not mine or mine.of ~= epoch then
  mine = { quota = keep, need = 0, got = 0 }
  if held >= 0 then
    held = held + keep
    for i = 17, #ARGV do
      if not all[ARGV[i]] then
        all[ARGV[i]] = { quota = 0, need = 0, opinion = 0, seen = now, dead = 0, got = 0, of = '?' }
      end
    end
  end
end
all[me] = mine
local before, short_before = math.max(mine.quota, keep), mine.need > mine.quota
mine.quota, mine.need, mine.opinion, mine.seen, mine.dead, mine.of = before, need, opinion, now, 0, epoch

-- Who is dead is waited for until HOSP must be done with what it sent. Whoever was heard of just now is not dead, also
-- where the list of members has been evicted.
local missing, freed = 0, false
for name, one in pairs(all) do
  local over = false
  if one.of == '?' then
    over = now - since >= vanished_ms
  elseif name ~= me and now - one.seen >= live_ms then
    if redis.pcall('HEXISTS', KEYS[3], name) ~= 0 then
      one.dead = 0
    elseif one.dead == 0 then
      one.dead = now
    end
    over = one.dead > 0 and now - one.dead >= linger_ms or one.of ~= epoch and now - since >= vanished_ms
  end
  if over then
    all[name], freed = nil, true
    gone[#gone + 1] = name
  elseif one.of ~= epoch then
    missing = missing + 1
  end
end
if held >= 0 and missing == 0 and now - since >= settle_ms then held = -1 end

-- Places are shared among the live; others keep theirs.
local limit, owned, absent, live = ceiling, 0, 0, {}
for name, one in pairs(all) do
  if one.of == epoch then
    owned = owned + one.quota
    if now - one.seen < live_ms then
      live[#live + 1] = name
      limit = math.min(limit, one.opinion)
    else
      absent = absent + one.quota
    end
  end
end
local top = held < 0 and limit or math.min(limit, held)

-- First what each needs, evenly; who has waited longest for a place comes first where there are not enough. What is left goes to
-- whoever has least.
local share, left = {}, math.max(0, top - absent)
table.sort(live)
local order = {}
for i, name in ipairs(live) do order[i], share[name] = name, 0 end
table.sort(order, function(a, b)
  if all[a].got ~= all[b].got then return all[a].got < all[b].got end
  return a < b
end)
while left > 0 and #order > 0 do
  local further = {}
  for _, name in ipairs(order) do
    if left > 0 and share[name] < all[name].need then
      share[name], left = share[name] + 1, left - 1
      further[#further + 1] = name
    end
  end
  order = further
end
while left > 0 do
  local least = live[1]
  for _, name in ipairs(live) do
    if share[name] < share[least] then least = name end
  end
  share[least], left = share[least] + 1, left - 1
end

if mine.quota > share[me] then
  mine.quota = math.max(keep, share[me])
else
  mine.quota = math.min(share[me], mine.quota + math.max(0, top - owned))
  if mine.quota > before then mine.got = now end
end

local wake = false
for _, name in ipairs(live) do
  local one = all[name]
  if name ~= me and one.quota < share[name] and (freed or mine.quota < before) then wake = true end
end
-- Others may have free what this one is short of.
if mine.quota < math.min(need, share[me]) and not short_before then wake = true end

-- The breaker: whatever was seen last counts.
local known = redis.pcall('HMGET', KEYS[4], 'state', 'at')
if known.err then
  redis.call('DEL', KEYS[4])
  known = {}
end
local state, at = known[1] or '', tonumber(known[2] or '')
if not at or not (at <= now) then state, at = '', 0 end
if ARGV[14] ~= '' and ARGV[14] ~= state and (state ~= '' or ARGV[14] ~= 'closed') and now - ARGV[15] > at then
  state, at, wake = ARGV[14], now - ARGV[15], true
  redis.call('HSET', KEYS[4], 'state', state, 'at', string.format('%.0f', at), 'by', me)
  redis.call('PEXPIRE', KEYS[4], 3600000)
end

if ARGV[16] == '1' and keep == 0 then
  wake, all[me] = wake or mine.quota > 0, nil
  gone[#gone + 1] = me
end
local function text(one)
  return string.format('%.0f %.0f %.0f %.0f %.0f %.0f %s', one.quota, one.need, one.opinion, one.seen, one.dead, one.got, one.of)
end
local rows = { ':life', string.format('%s %.0f %.0f', life, since, held) }
local names, rank = {}, 0
for name, one in pairs(all) do
  rows[#rows + 1], rows[#rows + 2] = name, text(one)
  if name ~= me and one.quota > 0 then names[#names + 1] = name end
end
for i, name in ipairs(live) do
  if name == me then rank = i - 1 end
end
if #gone > 0 then redis.call('HDEL', KEYS[2], unpack(gone)) end
redis.call('HSET', KEYS[2], unpack(rows))
-- Longer than any entry is waited for: all who hold something renew it.
redis.call('PEXPIRE', KEYS[2], vanished_ms + linger_ms + 60000)
if wake then redis.call('PUBLISH', channel, 'p') end
local turn = (rank - math.floor(now / turn_ms)) % #live
return { 'ok', mine.quota, share[me], limit, #live, turn, state, now - at, unpack(names) }
