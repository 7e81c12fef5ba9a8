CREATE TABLE IF NOT EXISTS trips_by_month (
    target_table text NOT NULL,
    service text NOT NULL,
    month text NOT NULL,
    trips bigint NOT NULL,
    without_meter bigint,
    outside_month bigint NOT NULL,
    fares bigint NOT NULL,
    fare_sum double precision NOT NULL,
    tip_sum double precision NOT NULL,
    PRIMARY KEY (target_table, service, month)
);

COMMENT ON TABLE trips_by_month IS
    'The loaded trips of each month''s file. Fares and tips are US dollars, of the trips whose fare is known and within 5,000.';

COMMENT ON COLUMN trips_by_month.without_meter IS
    'Trips without a meter''s record: their passenger count is null. Null for services without meters.';

COMMENT ON COLUMN trips_by_month.outside_month IS
    'Trips that began in another month than the file''s.';

CREATE TABLE IF NOT EXISTS trips_by_hour (
    target_table text NOT NULL,
    service text NOT NULL,
    month text NOT NULL,
    weekday smallint NOT NULL,
    hour smallint NOT NULL,
    trips bigint NOT NULL,
    PRIMARY KEY (target_table, service, month, weekday, hour)
);

COMMENT ON TABLE trips_by_hour IS
    'Trips by the New York hour in which they began. weekday is 1, Monday, to 7; hour 0 to 23.';

CREATE TABLE IF NOT EXISTS trips_by_zone (
    target_table text NOT NULL,
    service text NOT NULL,
    month text NOT NULL,
    location_id smallint NOT NULL,
    pickups bigint NOT NULL,
    dropoffs bigint NOT NULL,
    fares bigint NOT NULL,
    fare_sum double precision NOT NULL,
    tip_sum double precision NOT NULL,
    PRIMARY KEY (target_table, service, month, location_id)
);

COMMENT ON TABLE trips_by_zone IS
    'Trips by taxi zone; fares and tips are those of the trips that began there. Trips without a zone are not in it.';
